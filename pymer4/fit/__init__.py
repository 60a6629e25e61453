"""Arrays in, frozen records out: fits, covariances and distributions; no pandas, no text of users, no R."""
