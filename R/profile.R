# Profile limits of a linear mixed model from its likelihood itself, for models with prior weights: there lme4's own
# profile is of another model (issue 192 there). As in lme4 the likelihood is the unrestricted one.
#
# At given theta the deviance is D = d + n log(2 pi s^2) + r / s^2, with d the log-determinant and r the penalized
# residual sum of squares, least at s^2 = r / n (Bates et al. 2015, J. Stat. Softw. 67, section 3.4). Where coefficient j
# is held at b, r grows by (b - b_j)^2 / u, u the j-th diagonal element of their covariance matrix over s^2. A standard
# deviation or a correlation is held in the Cholesky factor of its term's matrix, its effects in the order in which
# that is the length of the first row, or the direction of the second.

# Limits of all parameters, or of the coefficients or the others alone, a row each in the order of limit_names(), and their
# traces where steps are asked for. A model of which a term has a structure (lme4 2) has no others here.
likelihood_limits <- function(model, interval, random = TRUE, fixed = TRUE) {
  surface <- deviance_surface(model)
  for (attempt in 1:5) {
    best <- surface_minimum(surface)
    held <- c(
      if (random) c(held_random(surface, best), list(held_sigma(surface, best))),
      if (fixed) held_coefficients(surface, best)
    )
    found <- tryCatch(
      lapply(held, traced, base = best$deviance, cutoff = interval$cutoff, steps = interval$steps),
      better_fit = identity
    )
    if (!inherits(found, "better_fit")) break
    surface$start <- found$x
  }
  if (inherits(found, "better_fit")) {
    stop("The likelihood has maxima that lead past one another: no profile limits. Use other limits.")
  }
  if (attempt > 1) warning("Profiling found a likelihood above the fit's; its limits are around that. See allfit().")
  list(limits = t(vapply(found, `[[`, c(0, 0), "limits")), traces = lapply(found, `[[`, "trace"))
}

# The deviance of a model in coordinates x: the factors of its terms, each row in units of what its effect may be; where
# a term has a structure, what lme4's deviance takes.
deviance_surface <- function(model) {
  devfun <- direct_deviance(own_deviance(model, REML = FALSE))
  rho <- environment(devfun)
  look <- .observer(devfun)
  p <- length(lme4::fixef(model))
  theta <- lme4::getME(model, "theta")
  sizes <- unname(lengths(model@cnms))
  free <- all(vapply(structures_of(model), is.null, NA))
  units <- if (free) factors_vector(effect_units(model, factors_of(theta, sizes))) else 1
  point <- function(x) {
    to <- if (free) deviance_argument(devfun, x * units) else x
    tryCatch(look$point(to), error = function(e) rep(NaN, 4))[2:3]
  }
  list(
    point = point, coefficient = function(j) c(rho$pp$beta(1)[j], look$vcov()[(j - 1) * p + j]),
    n = nrow(model@frame), p = p, sizes = sizes, units = units,
    start = (if (free) theta else deviance_argument(devfun, theta)) / units,
    lower = if (free) factors_vector(lapply(sizes, least_factor)) else rho$lower,
    upper = if (free || is.null(rho$upper)) Inf else rho$upper
  )
}

# A matrix for each term that holds, in every row, how large the relative standard deviation of the effect is, or could
# be without showing.
effect_units <- function(model, factors) {
  sums <- as.vector(lme4::getME(model, "Zt")^2 %*% model@resp$weights)
  Map(function(factor, first, last) {
    size <- nrow(factor)
    information <- rowMeans(matrix(sums[(first + 1):last], size))
    matrix(pmax(sqrt(rowSums(factor^2)), 1 / sqrt(pmax(information, 1e-300))), size, size)
  }, factors, utils::head(model@Gp, -1), model@Gp[-1])
}

# The lower triangles of the factors of all terms, one after the other, and back.
factors_vector <- function(factors) unlist(lapply(factors, function(factor) factor[lower.tri(factor, diag = TRUE)]))

factors_of <- function(vector, sizes) {
  lapply(seq_along(sizes), function(t) {
    factor <- matrix(0, sizes[t], sizes[t])
    factor[lower.tri(factor, diag = TRUE)] <- vector[entries_of(sizes, t)]
    factor
  })
}

entries_of <- function(sizes, t) {
  counts <- sizes * (sizes + 1) / 2
  sum(counts[seq_len(t - 1)]) + seq_len(counts[t])
}

least_factor <- function(size) ifelse(diag(size) == 1, 0, -Inf)

# The lower triangular factor of A A' with no negative diagonal. No pivots: rows stay in their places.
lower_factor <- function(A) {
  R <- qr.R(qr(t(A), tol = 0))
  t(R * ifelse(diag(R) < 0, -1, 1))
}

profiled <- function(surface, r, d) d + surface$n * (1 + log(2 * pi * r / surface$n))

with_sigma <- function(surface, seen, log_sigma) {
  seen[2] + surface$n * (log(2 * pi) + 2 * log_sigma) + seen[1] * exp(-2 * log_sigma)
}

surface_minimum <- function(surface) {
  found <- minimum(list(surface$start), function(x) {
    seen <- surface$point(x)
    profiled(surface, seen[1], seen[2])
  }, surface$lower, surface$upper)
  seen <- surface$point(found$x)
  list(x = found$x, deviance = found$value, sigma = sqrt(seen[1] / surface$n))
}

# The least value from several starts, none of them on the edge, where the slope across it is 0 at a maximum too.
minimum <- function(starts, objective, lower, upper = Inf) {
  finite <- function(x) if (is.finite(value <- objective(x))) value else 1e300
  found <- lapply(starts, function(start) {
    start <- ifelse(lower == 0, pmax(start, 0.02), start)
    stats::nlminb(
      start, finite, lower = lower, upper = upper,
      control = list(rel.tol = 1e-13, x.tol = 1e-9, iter.max = 1000, eval.max = 2000)
    )
  })
  best <- found[[which.min(vapply(found, `[[`, 0, "objective"))]]
  list(x = best$par, value = best$objective)
}

# What can be held: its estimate, its range and a first step; the coordinates y of all that is free then, with their
# lower ends; the point x of the surface and the deviance at a value and y.
held_coefficients <- function(surface, best) {
  lapply(seq_len(surface$p), function(j) {
    surface$point(best$x)
    now <- surface$coefficient(j)
    list(
      estimate = now[1], range = c(-Inf, Inf), step = best$sigma * sqrt(now[2]), y = best$x, lower = surface$lower,
      upper = surface$upper, x = function(value, y) y,
      deviance = function(value, y) {
        seen <- surface$point(y)
        at <- surface$coefficient(j)
        profiled(surface, seen[1] + (value - at[1])^2 / at[2], seen[2])
      }
    )
  })
}

held_sigma <- function(surface, best) {
  list(
    estimate = best$sigma, range = best$sigma * c(1e-6, Inf), step = best$sigma / sqrt(2 * surface$n), y = best$x,
    lower = surface$lower, upper = surface$upper, x = function(value, y) y,
    deviance = function(value, y) with_sigma(surface, surface$point(y), log(value))
  )
}

held_random <- function(surface, best) {
  unlist(lapply(seq_along(surface$sizes), function(t) {
    at <- which(lower.tri(diag(surface$sizes[t]), diag = TRUE), arr.ind = TRUE)
    lapply(seq_len(nrow(at)), function(k) {
      if (at[k, 1] == at[k, 2]) held_sd(surface, best, t, at[k, 1]) else held_correlation(surface, best, t, at[k, ])
    })
  }), recursive = FALSE)
}

# The factor L of a term with some effects first, and the point of the surface that such a factor gives.
reordered <- function(surface, x, t, first) {
  entries <- entries_of(surface$sizes, t)
  order <- c(first, setdiff(seq_len(surface$sizes[t]), first))
  back <- function(L, others) {
    L[order, ] <- L
    whole <- numeric(length(surface$lower))
    whole[entries] <- factors_vector(list(lower_factor(L)))
    whole[-entries] <- others
    whole
  }
  factor <- factors_of(x, surface$sizes)[[t]]
  list(L = lower_factor(factor[order, , drop = FALSE]), others = x[-entries], back = back,
       lower = least_factor(surface$sizes[t]), others_lower = surface$lower[-entries])
}

# y: how far log(sigma) is from its estimate, in standard errors about; L but for its first element; other terms.
held_sd <- function(surface, best, t, effect) {
  at <- reordered(surface, best$x, t, effect)
  below <- which(lower.tri(at$L, diag = TRUE))[-1]
  unit <- factors_of(surface$units, surface$sizes)[[t]][effect, 1]
  log_sigma <- function(y) log(best$sigma) + y[1] / sqrt(2 * surface$n)
  x <- function(value, y) {
    L <- at$L
    L[1, 1] <- value / exp(log_sigma(y)) / unit
    L[below] <- y[1 + seq_along(below)]
    at$back(L, y[-seq_len(1 + length(below))])
  }
  estimate <- at$L[1, 1] * unit * best$sigma
  list(
    estimate = estimate, range = c(0, Inf), step = 0.3 * max(estimate, unit * best$sigma), x = x,
    y = c(0, at$L[below], at$others), lower = c(-Inf, at$lower[below], at$others_lower), upper = Inf,
    deviance = function(value, y) with_sigma(surface, surface$point(x(value, y)), log_sigma(y))
  )
}

# y: the length of the second row of L; L but for that row; other terms.
held_correlation <- function(surface, best, t, effects) {
  at <- reordered(surface, best$x, t, rev(effects))
  n <- nrow(at$L)
  below <- setdiff(which(lower.tri(at$L, diag = TRUE)), c(2, n + 2))
  x <- function(value, y) {
    L <- at$L
    L[2, 1:2] <- y[1] * c(value, sqrt(max(0, 1 - value^2)))
    L[below] <- y[1 + seq_along(below)]
    at$back(L, y[-seq_len(1 + length(below))])
  }
  length <- sqrt(sum(at$L[2, 1:2]^2))
  list(
    estimate = if (length > 0 && at$L[1, 1] > 0) at$L[2, 1] / length else 0, range = c(-1, 1), step = 0.2, x = x,
    y = c(length, at$L[below], at$others), lower = c(0, at$lower[below], at$others_lower), upper = Inf,
    deviance = function(value, y) {
      seen <- surface$point(x(value, y))
      profiled(surface, seen[1], seen[2])
    }
  )
}

traced <- function(held, base, cutoff, steps) {
  limits <- vapply(c(-1, 1), function(side) one_limit(held, side, base, cutoff), 0)
  list(limits = limits, trace = if (!is.null(steps)) trace_about(held, limits, base, steps))
}

# Values and signed roots of the deviance's rise, `steps` on either side of the estimate, to beyond the limits.
trace_about <- function(held, limits, base, steps) {
  sides <- lapply(1:2, function(side) {
    end <- held$range[side]
    far <- if (is.finite(limits[side])) 1.25 * (limits[side] - held$estimate) else c(-10, 10)[side] * held$step
    values <- held$estimate + far * seq_len(steps) / steps
    values <- setdiff(if (side == 1) pmax(values, end) else pmin(values, end), held$estimate)
    cbind(values, c(-1, 1)[side] * vapply(values, rise_of(held, base), 0))
  })
  traced <- rbind(sides[[1]], c(held$estimate, 0), sides[[2]])
  traced[order(traced[, 1]), , drop = FALSE]
}

# A function of a value: the root of the deviance's rise there, the least from where the last one was.
rise_of <- function(held, base) {
  last <- held$y
  function(value) {
    found <- minimum(unique(list(last, held$y)), function(y) held$deviance(value, y), held$lower, held$upper)
    if (found$value < base - 1e-4) stop(better_fit(held$x(value, found$x)))
    last <<- found$x
    sqrt(max(0, found$value - base))
  }
}

# Where the deviance is `cutoff` above its least, or the end of the range where it is not up to there.
one_limit <- function(held, side, base, cutoff) {
  rise <- rise_of(held, base)
  far <- sqrt(cutoff)
  excess <- function(value) rise(value) - far
  end <- if (side < 0) held$range[1] else held$range[2]
  inner <- held$estimate
  inside <- -far
  step <- held$step * far
  for (attempt in 1:60) {
    outer <- if (abs(end - inner) <= step) end else inner + side * step
    outside <- excess(outer)
    if (outside >= 0) break
    if (outer == end) return(end)
    # The root of the deviance's rise is about linear.
    ahead <- abs(outer - held$estimate) * (1.2 * far / (outside + far) - 1)
    step <- min(4 * step, max(step / 2, ahead))
    inner <- outer
    inside <- outside
  }
  if (outside < 0) return(side * Inf)
  ends <- if (side < 0) c(outside, inside) else c(inside, outside)
  tolerance <- 1e-7 * abs(outer - held$estimate)
  stats::uniroot(excess, sort(c(inner, outer)), tol = tolerance, f.lower = ends[1], f.upper = ends[2])$root
}

better_fit <- function(x) structure(class = c("better_fit", "error", "condition"), list(message = "", call = NULL, x = x))
