# Permutation tests of the coefficients: the outcome is shuffled within clusters.

# Statistics of each coefficient, a row for each seed, and which of them shuffling leaves untested. `within` is a grouping
# factor, NULL for the first.
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
  made <- replicates(model, seeds, length(lme4::fixef(model)), draw, function(fit) fit$beta / fit$se)
  c(made, list(untested = unname(constant_within(model, cluster))))
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
constant_within <- function(model, cluster) {
  X <- lme4::getME(model, "X")
  first <- match(cluster, cluster)
  apply(X, 2, function(x) all(abs(x - x[first]) <= 1e-12 * max(abs(x))))
}
