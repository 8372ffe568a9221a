"""One suite per port, run on the fake and on the adapter, so that the fakes cannot lie."""
