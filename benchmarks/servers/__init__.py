"""Plain clients for the servers under measurement: independent of the product's own."""
