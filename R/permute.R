# Permutation tests of the coefficients: the outcome is shuffled within clusters.

# Statistics l b / se of rows of L, a row for each seed. `within` is a grouping factor, NULL for the first.
permute_mixed <- function(model, L, within, seeds) {
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
  replicates(model, seeds, nrow(L), draw, function(fit) row_statistics(L, fit$beta, fit$V))
}

row_statistics <- function(L, b, V, null = 0) (as.vector(L %*% b) - null) / sqrt(row_form(L, V))

# The statistics of the fit itself, and what tells which rows shuffles can test: the design and the clusters.
shuffled_mixed <- function(model, L, within) {
  list(
    observed = row_statistics(L, lme4::fixef(model), fixed_covariance(model)),
    X = matrix(lme4::getME(model, "X"), nrow(model@frame)), cluster = clusters(model, within)
  )
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
