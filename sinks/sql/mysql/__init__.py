"""MySQL 8.0.19 and later, by PyMySQL."""
