"""The living table: results of many folders, and of many people, on one page."""
