"""Which way of learning suits these pictures: candidates, measured on the same folds within a budget."""
