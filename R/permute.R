# Permutation tests of the coefficients: the outcome is shuffled within clusters, with its weight: the inverse of its
# variance, or its trials. It leaves the offset of a linear model behind; that of another, as an exposure, moves too.

# Statistics l b / se of rows of L, a row for each seed. `within` is a grouping factor, NULL for the first.
permute_mixed <- function(model, L, within, seeds) {
  cluster <- clusters(model, within)
  together <- order(cluster)
  draw <- function() replace(seq_along(cluster), together, order(cluster, stats::runif(length(cluster))))
  refit <- if (lme4::isLMM(model)) linear_shuffler(model) else generalized_shuffler(model)
  replicates(model, seeds, nrow(L), draw, function(fit) row_statistics(L, fit$beta, fit$V), refit)
}

# Functions that fit the model to outcomes from other rows.
linear_shuffler <- function(model) {
  offset <- model@resp$offset + 0
  free <- model@resp$y - offset
  weights <- model@frame[["(weights)"]]
  refit <- if (is.null(weights)) linear_refitter(model)
  function(rows) {
    if (!is.null(weights)) {
      model@frame[["(weights)"]] <- weights[rows]
      refit <- linear_refitter(model)
    }
    refit(free[rows] + offset)
  }
}

# lme4::refit() takes offset and weights from the frame, and the offset from the response module too.
generalized_shuffler <- function(model) {
  own <- lapply(list(y = model@resp$y, weights = model@resp$weights, offset = model@resp$offset), function(v) v + 0)
  attr(attr(model@frame, "terms"), "offset") <- NULL
  refit <- generalized_refitter(model)
  function(rows) {
    refit(own$y[rows], function(model) {
      model@frame[[1]] <- own$y[rows]
      model@frame[["(weights)"]] <- own$weights[rows]
      model@frame[["(offset)"]] <- own$offset[rows]
      model@resp <- model@resp$copy()
      model@resp$setOffset(own$offset[rows])
      model
    })
  }
}

row_statistics <- function(L, b, V, null = 0) (as.vector(L %*% b) - null) / sqrt(row_form(L, V))

# The statistics of the fit itself, and what tells which rows shuffles can test: the design, the clusters, and the size
# of the offsets.
shuffled_mixed <- function(model, L, within) {
  list(
    observed = row_statistics(L, lme4::fixef(model), fixed_covariance(model)),
    X = matrix(lme4::getME(model, "X"), nrow(model@frame)), cluster = clusters(model, within),
    offset = scalar(max(abs(model@resp$offset)))
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

# Freedman & Lane (1983), Journal of Business & Economic Statistics 1, with correlated rows: the residuals of the fit under
# l b = null are made independent by the Cholesky factor of its marginal covariance, shuffled, and coloured by it again.

# The model with what such shuffles take; the statistic of the fit; and the share of l b that shuffled residuals keep, which
# is that of a constant in its direction in independent coordinates.
with_residuals <- function(model, l, null) {
  X <- matrix(lme4::getME(model, "X"), nrow(model@frame))
  under <- fitted_under(model, X, l, null)
  parts <- qr(whitened(under$factor, X), LAPACK = TRUE)
  own <- qr.Q(parts) %*% backsolve(qr.R(parts), l[parts$pivot], transpose = TRUE)
  bare <- as_lme4(model)
  attr(bare, "under") <- under
  list(
    model = bare, kept = scalar(sum(own)^2 / (length(own) * sum(own^2))),
    observed = scalar(row_statistics(rbind(l), lme4::fixef(model), fixed_covariance(model), null))
  )
}

# The restriction is b = N c + m, N a basis of what l leaves free and l m = null.
fitted_under <- function(model, X, l, null) {
  free <- X %*% null_space(cbind(l))
  known <- as.vector(X %*% (l * null / sum(l^2)))
  devfun <- direct_deviance(own_deviance(model, X = free, known = known))
  rho <- environment(devfun)
  start <- deviance_argument(devfun, lme4::getME(model, "theta"))
  devfun(optimize_deviance(devfun, linear_control(environment(stats::formula(model))), start = start)$par)
  mean <- known + as.vector(free %*% rho$pp$beta(1)) + model@resp$offset
  covariance <- Matrix::crossprod(rho$pp$Lambdat %*% lme4::getME(model, "Zt")) + Matrix::Diagonal(x = 1 / model@resp$weights)
  factor <- Matrix::Cholesky(Matrix::forceSymmetric(covariance), perm = FALSE, LDL = FALSE, super = NA)
  list(l = rbind(l), null = null, mean = mean, factor = factor, residual = as.vector(whitened(factor, model@resp$y - mean)))
}

whitened <- function(factor, values) as.matrix(Matrix::solve(factor, values, system = "L"))

# The statistic, a row for each seed.
permute_residuals <- function(model, seeds) {
  under <- attr(model, "under")
  lower <- triangle_of(under$factor)
  draw <- function() under$mean + as.vector(lower %*% under$residual[order(stats::runif(length(under$residual)))])
  replicates(model, seeds, 1L, draw, function(fit) row_statistics(under$l, fit$beta, fit$V, under$null))
}
