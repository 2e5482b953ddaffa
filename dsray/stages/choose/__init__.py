"""How select comes to its verdicts: rules on each row, then what only all rows together can tell, round by round."""
