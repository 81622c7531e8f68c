"""What provokes each Python text of docs/errors.md, a module for each section of the page."""
