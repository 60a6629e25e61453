# Satterthwaite denominator degrees of freedom of a linear mixed model, after
# Kuznetsova, Brockhoff & Christensen (2017), J. Stat. Softw. 82(13). The
# Hessian of the deviance and the Jacobian of vcov(beta), both in
# (theta, sigma), come from one set of deviance evaluations, which the
# convergence check of lme4 can share; all derivatives in sigma are analytic.

# A deviance function on a lattice round `par`: the centre, par +/- delta on
# each axis, and the named corners (sign of the first, of the second axis) of
# each pair of axes.
#
# Returns par, delta (k) and pairs (2 x m); centre, plus, minus and each of
# corners hold a point per column, with rows deviance, pwrss, ldL2, ldRX2;
# vcov holds vcov(beta) / sigma^2 at centre, plus and minus, as columns (p^2).
theta_stencil <- function(devfun, par, delta = 1e-4,
                          corners = c("++", "+-", "-+", "--")) {
  # devfun writes into the theta that lme4 shares with it: take a copy
  par <- par + 0
  k <- length(par)
  up <- par + delta
  down <- par - delta
  look <- .observer(devfun)

  centre <- look$point(par)
  vcov_centre <- as.vector(look$vcov())
  plus <- minus <- matrix(0, 4L, k)
  vcov_plus <- vcov_minus <- matrix(0, length(vcov_centre), k)
  for (j in seq_len(k)) {
    plus[, j] <- look$point(replace(par, j, up[j]))
    vcov_plus[, j] <- look$vcov()
    minus[, j] <- look$point(replace(par, j, down[j]))
    vcov_minus[, j] <- look$vcov()
  }
  pairs <- .pairs(if (length(corners)) k else 0L)
  corner <- function(signs) {
    to <- list(`+` = up, `-` = down)[strsplit(signs, "")[[1L]]]
    points <- matrix(0, 4L, ncol(pairs))
    for (m in seq_len(ncol(pairs))) {
      ij <- pairs[, m]
      points[, m] <- look$point(replace(par, ij, c(to[[1L]][ij[1L]], to[[2L]][ij[2L]])))
    }
    points
  }
  list(par = par, delta = rep_len(delta, k), pairs = pairs,
       centre = centre, plus = plus, minus = minus,
       corners = sapply(corners, corner, simplify = FALSE),
       vcov = list(centre = vcov_centre, plus = vcov_plus, minus = vcov_minus))
}

# Gradient and Hessian of the profiled deviance, in the order of operations of
# lme4's convergence check, so that its verdict is the same to the last bit.
profiled_derivs <- function(stencil) {
  d <- stencil$delta
  f <- lapply(c(stencil[c("plus", "minus")], stencil$corners), function(points) points[1L, ])
  H <- diag(f$plus / d^2 - 2 * stencil$centre[1L] / (d * d) + f$minus / d^2, length(d))
  span <- (d[stencil$pairs[1L, ]] + d[stencil$pairs[2L, ]])^2
  mixed <- f$`++` / span - f$`+-` / span - f$`-+` / span + f$`--` / span
  list(gradient = (f$plus - f$minus) / (d + d), Hessian = .with_pairs(H, stencil$pairs, mixed))
}

# A linear model as lme4 makes it, with what Satterthwaite's df take in an
# attribute: lmerTest, whose class has slots for it, takes long to load. `devfun`
# is the deviance function of the model, left at its optimum; `stencil` is a
# theta_stencil() there, and is replaced where it is missing, elsewhere, or too
# coarse or too noisy for the df.
with_satterthwaite <- function(model, devfun = own_deviance(model), stencil = NULL) {
  if (is.null(satterthwaite_of(model))) attr(model, "satterthwaite") <- satterthwaite_parts(model, devfun, stencil)
  model
}

# What a model has of it: the covariance of the coefficients, its derivatives in
# theta and sigma, and the covariance of these. NULL where it has none.
satterthwaite_of <- function(model) {
  if (!inherits(model, "lmerModLmerTest")) return(attr(model, "satterthwaite"))
  list(V = model@vcov_beta, jacobian = model@Jac_list, A = model@vcov_varpar)
}

# A linear model as lmerTest's lmer() returns it.
as_lmertest <- function(model) {
  if (inherits(model, "lmerModLmerTest")) return(model)
  loadNamespace("lmerTest")
  parts <- satterthwaite_of(with_satterthwaite(model))
  result <- with_structures(methods::as(as_lme4(model), "lmerModLmerTest"), model)
  result@sigma <- stats::sigma(model)
  result@vcov_beta <- parts$V
  result@vcov_varpar <- parts$A
  result@Jac_list <- parts$jacobian
  result
}

satterthwaite_parts <- function(model, devfun, stencil) {
  par <- deviance_argument(devfun, model@theta)
  size <- .size(model, length(par))
  local <- .local_derivs(devfun, par, size, stencil)

  p <- length(model@beta)
  sigma <- size$sigma
  square <- function(v) array(v, c(p, p))
  V <- sigma^2 * square(local$vcov)
  dimnames(V) <- rep(list(colnames(model@pp$X)), 2L)
  jacobian <- cbind(sigma^2 * local$dvcov, 2 * sigma * local$vcov)

  list(V = V, jacobian = lapply(seq_len(ncol(jacobian)), function(j) square(jacobian[, j])),
       A = .varpar_vcov(.varpar_hessian(local, size)))
}

# Reads off the state of a deviance function, with each method looked up once.
.observer <- function(devfun) {
  pp <- environment(devfun)$pp
  wrss <- environment(devfun)$resp$wrss
  sqrL <- pp$sqrL
  ldL2 <- pp$ldL2
  ldRX2 <- pp$ldRX2
  list(point = function(par) c(devfun(par), wrss() + sqrL(1), ldL2(), ldRX2()),
       vcov = pp$unsc)
}

.pairs <- function(k) {
  second <- rep(seq_len(k), seq_len(k) - 1L)
  rbind(sequence(seq_len(k) - 1L), second, deparse.level = 0L)
}

.with_pairs <- function(H, pairs, values) {
  H[t(pairs)] <- values
  H[t(pairs[2:1, , drop = FALSE])] <- values
  H
}

# What turns differences into errors: the weights of pwrss, ldL2 and ldRX2 in
# the deviance at fixed sigma, the rounding error of its second differences,
# the number of levels that inform each parameter, and a first guess of its
# scale. Beside the deviance itself, digits are lost to the size of y and X b
# against the residuals, and in X'X, from which the Cholesky factor RX is downdated.
.size <- function(model, k) {
  reml <- lme4::isREML(model)
  sigma <- stats::sigma(model)
  part <- model@devcomp$cmp
  weights <- c(1 / sigma^2, 1, reml)
  XtX <- diag(model@pp$VtV)
  lost <- sqrt(sum(model@resp$weights * model@resp$y^2)) + sum(abs(model@beta) * sqrt(XtX))
  magnitude <- sum(weights * abs(part[c("pwrss", "ldL2", "ldRX2")])) + 2 * lost / sigma +
    2 * reml * sum(diag(model@pp$unsc()) * XtX)
  levels <- tabulate(model@pp$Lind)
  list(sigma = sigma, weights = weights,
       df = model@devcomp$dims[[if (reml) "nmp" else "n"]], pwrss = part[["pwrss"]],
       rounding = 8 * .Machine$double.eps * magnitude,
       levels = if (length(levels) == k) levels else rep(sum(levels) / k, k),
       scale = pmax(.effect_sd(model@pp, k), 0.05) / 3)
}

# The standard deviation, relative to sigma, of the random effect that each
# parameter belongs to: the norm of its column of t(Lambda).
.effect_sd <- function(pp, k) {
  if (max(pp$Lind) != k) return(rep(sqrt(mean(pp$theta^2)), k))
  Lt <- pp$Lambdat
  columns <- findInterval(match(seq_len(k), pp$Lind) - 1L, Lt@p)
  vapply(columns, function(j) sqrt(sum(Lt@x[(Lt@p[j] + 1L):Lt@p[j + 1L]]^2)), 0)
}

# The relative error of the df, about, above which a stencil is replaced.
.df_tol <- 1e-5

# Derivatives at the optimum that are good enough for the df: those of the
# given stencil if they are, else those of one with a step for each parameter.
.local_derivs <- function(devfun, par, size, stencil) {
  on.exit(devfun(par))
  given <- !is.null(stencil) && length(stencil$par) == length(par) &&
    all(stencil$par == par) && .is_finite(stencil)
  if (!given) stencil <- .finite_stencil(devfun, par, .steps(size$scale, size)$single)
  local <- .differences(stencil, size)
  if (.df_error(local, size) <= .df_tol) return(local)
  .rescaled(devfun, par, size, local)
}

# Central differences of a stencil, with the deviance D at fixed sigma taken
# from its centre. `curvature` is the second derivative of D without the
# cancellation of its parts, which vanishes at no optimum.
.differences <- function(stencil, size) {
  h <- stencil$delta
  parts <- lapply(c(stencil[c("plus", "minus")], stencil$corners), function(points)
    size$weights * (points - stencil$centre)[-1L, , drop = FALSE])
  D <- lapply(parts, colSums)
  i <- stencil$pairs[1L, ]
  j <- stencil$pairs[2L, ]
  axis <- D$plus + D$minus
  mixed <- if (is.null(D$`+-`)) (D$`++` + D$`--` - axis[i] - axis[j]) / (2 * h[i] * h[j])
           else (D$`++` - D$`+-` - D$`-+` + D$`--`) / (4 * h[i] * h[j])
  list(step = h,
       curvature = pmax(colSums(abs(parts$plus + parts$minus)), size$rounding) / h^2,
       hessian = .with_pairs(diag(axis / h^2, length(h)), stencil$pairs, mixed),
       dpwrss = (stencil$plus - stencil$minus)[2L, ] / (2 * h),
       dvcov = sweep(stencil$vcov$plus - stencil$vcov$minus, 2L, 2 * h, `/`),
       vcov = stencil$vcov$centre)
}

# Steps that balance truncation and rounding. With u the square of a step, in
# scales of its parameter, a single step has a relative error of 0.3 u + r / u,
# a pair (h, h / 2), extrapolated, one of 0.3 u^2 + 5.6 r / u; 0.3 is that of
# 2 log(theta) + b^2 / theta^2, the deviance of one large level, at its minimum.
.steps <- function(scale, size) {
  r <- size$rounding / size$levels
  list(single = scale * sqrt(sqrt(r / 0.3)), error = 2 * sqrt(0.3 * max(r)),
       pair = scale * sqrt(pmin((9 * r)^(1 / 3), 0.01)))
}

.df_error <- function(local, size) {
  u <- local$step^2 * local$curvature / size$levels
  max(0.3 * u + size$rounding / size$levels / u) / .separation(local, size)
}

# The smallest eigenvalue of the Hessian in (theta, sigma), in units of the
# curvature: what divides a relative error of the Hessian on its way to the df.
.separation <- function(local, size) {
  unit <- 1 / sqrt(c(local$curvature, 8 * size$df / size$sigma^2))
  scaled <- .varpar_hessian(local, size) * outer(unit, unit)
  max(0, min(eigen(scaled, symmetric = TRUE, only.values = TRUE)$values))
}

# Derivatives with steps that follow from the scale of each parameter. A step
# beyond the scale, or a curvature lost in rounding, only bounds the scale.
.rescaled <- function(devfun, par, size, local) {
  measure <- function(step, corners = c("++", "--"))
    .differences(.finite_stencil(devfun, par, step, corners), size)
  separation <- .separation(local, size)
  for (attempt in 1:4) {
    scale <- sqrt(size$levels / local$curvature)
    known <- local$step < scale / 3 & local$curvature > 10 * size$rounding / local$step^2
    if (all(known)) break
    separation <- 0
    local <- measure(ifelse(known, local$step, scale / 50), corners = character())
  }
  steps <- .steps(scale, size)
  if (steps$error <= .df_tol * separation) return(measure(steps$single))
  coarse <- measure(steps$pair)
  fine <- measure(coarse$step / 2)
  for (part in c("hessian", "dpwrss", "dvcov")) fine[[part]] <- (4 * fine[[part]] - coarse[[part]]) / 3
  fine
}

.is_finite <- function(stencil)
  all(is.finite(unlist(stencil[c("centre", "plus", "minus", "corners", "vcov")])))

# A deviance that is not finite, or an error of its factorisation, asks for a
# stencil closer to the optimum.
.finite_stencil <- function(devfun, par, step, corners = c("++", "--")) {
  for (attempt in 1:6) {
    stencil <- tryCatch(theta_stencil(devfun, par, step, corners), error = function(e) NULL)
    if (!is.null(stencil) && .is_finite(stencil)) return(stencil)
    step <- step / 4
  }
  stop("the deviance is not finite next to the estimate: no Satterthwaite df", call. = FALSE)
}

# The Hessian of the deviance in (theta, sigma),
# ldL2 + ldRX2 (REML only) + pwrss / sigma^2 + df log(2 pi sigma^2).
.varpar_hessian <- function(local, size) {
  cross <- -2 * local$dpwrss / size$sigma^3
  corner <- -2 * size$df / size$sigma^2 + 6 * size$pwrss / size$sigma^4
  unname(rbind(cbind(local$hessian, cross), c(cross, corner)))
}

# Twice the inverse Hessian. Eigenvalues count as positive in units of the
# diagonal, so that badly scaled variables do not make them small; where one is
# not positive, the generalized inverse and the warnings are those of lmerTest.
.varpar_vcov <- function(H, tol = 1e-8) {
  if (all(diag(H) > 0)) {
    unit <- 1 / sqrt(diag(H))
    R <- H * outer(unit, unit)
    if (min(eigen(R, symmetric = TRUE, only.values = TRUE)$values) > tol)
      return(2 * chol2inv(chol(R)) * outer(unit, unit))
  }
  eig <- eigen(H, symmetric = TRUE)
  .warn_eigenvalues("Model failed to converge with %d negative %s: %s",
                    eig$values[eig$values < -tol])
  .warn_eigenvalues("Model may not have converged with %d %s close to zero: %s",
                    eig$values[abs(eig$values) < tol])
  positive <- eig$values > tol
  V <- eig$vectors[, positive, drop = FALSE]
  2 * V %*% (t(V) / eig$values[positive])
}

.warn_eigenvalues <- function(wording, values) {
  n <- length(values)
  if (n == 0L) return(invisible())
  noun <- if (n > 1L) "eigenvalues" else "eigenvalue"
  warning(sprintf(wording, n, noun, paste(sprintf("%1.1e", values), collapse = " ")), call. = FALSE)
}
