"""Arrays in, arrays out: fits, covariances, resamples and what is inferred from them."""
