"""The adapters' own edges: pages, lost answers, throttles, shapes that no fake has."""
