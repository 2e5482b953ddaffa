"""The demo: a web gallery of real handwritten digits on this machine, and the recipe that makes a dataset of it."""
