"""Is the map worth believing? Metrics, the cases they are measured on, and what comes out."""
