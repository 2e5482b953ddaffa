"""What a person reads: the HTML report (`page.render`) and the dataset card (`card.card`)."""
