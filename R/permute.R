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

# The coefficients whose predictor is constant within every cluster: shuffling there leaves their hypothesis untested.
untested_mixed <- function(model, within) list(untested = unname(constant_within(model, within)))

constant_within <- function(model, within) {
  X <- lme4::getME(model, "X")
  cluster <- clusters(model, within)
  first <- match(cluster, cluster)
  apply(X, 2, function(x) all(abs(x - x[first]) <= 1e-12 * max(abs(x))))
}
