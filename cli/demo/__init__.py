"""The demonstration: the graphs of the embedded model, run from an empty server to videos, sheets and a page that shows them."""
