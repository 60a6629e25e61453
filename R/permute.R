# Permutation tests of the coefficients: the outcome is shuffled within clusters.

# Statistics of each coefficient, a row for each seed. `within` is a grouping factor, NULL for the first.
permute_mixed <- function(model, within, seeds) {
  response <- stats::model.response(stats::model.frame(model))
  cluster <- clusters(model, within)
  together <- order(cluster)
  draw <- function() {
    shuffled <- order(cluster, stats::runif(length(cluster)))
    if (is.matrix(response)) {
      response[together, ] <- response[shuffled, ]
    } else {
      response[together] <- response[shuffled]
    }
    response
  }
  replicates(model, seeds, length(lme4::fixef(model)), draw, function(fit) fit$beta / fit$se)
}

clusters <- function(model, within) {
  factors <- lme4::getME(model, "flist")
  if (is.null(within)) within <- 1L
  # lme4 writes the crossings of a nested grouping in an order, and with parentheses, of its own.
  if (is.character(within) && !within %in% names(factors)) {
    same <- vapply(names(factors), function(name) identical(grouped_by(name), grouped_by(within)), NA)
    within <- names(factors)[same][1]
  }
  as.integer(factors[[within]])
}

# The columns that a grouping is made of.
grouped_by <- function(name) sort(all.vars(tryCatch(str2lang(name), error = function(e) as.name(name))))

# p = (1 + hits) / (n + 1), where statistics that differ by rounding are equal; NA for a coefficient whose
# predictor is constant within every cluster, since shuffling there leaves its hypothesis untested.
permutation_p <- function(model, statistic, permute) {
  kept <- fitted_draws(made_draws(permute$made), "permuted")
  usual <- sqrt(colMeans(replace(kept, !is.finite(kept), 0)^2))
  slack <- 1e-10 * pmax(usual, abs(statistic))
  hits <- colSums(abs(kept) >= rep(abs(statistic) - slack, each = nrow(kept)))
  p <- (1 + hits) / (nrow(kept) + 1)
  p[constant_within(model, permute$within)] <- NA
  p
}

constant_within <- function(model, within) {
  X <- lme4::getME(model, "X")
  cluster <- clusters(model, within)
  first <- match(cluster, cluster)
  apply(X, 2, function(x) all(abs(x - x[first]) <= 1e-12 * max(abs(x))))
}
