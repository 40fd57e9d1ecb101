"""What the graphs say: their titles, and the notes that explain them."""
