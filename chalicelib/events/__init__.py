"""Outside words -> our words. One file per source; a malformed event raises BadEventError and changes nothing."""
