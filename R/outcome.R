# The function of the outcome that was fitted, such as log(y, 10), and what undoes it. A function is what it computes,
# not what it is called: an inverse counts where it gives the raw outcomes back from those that were fitted.

# text    the function as it is written, or that of a link of it; "" where there is none
# known   whether the raw scale can be reached: from shift + slope * what was fitted
# tran    by this inverse, a name of emmeans' or a link of ours; NULL for none beside that of the model
# own     whether emmeans knows the scale of what was fitted by the name `tran`
fitted_outcome <- function(model) {
  outcome <- list(text = "", known = TRUE, shift = 0, slope = 1, tran = NULL, own = FALSE)
  written <- stats::formula(model)[[2]]
  fitted <- stats::model.response(model@frame)
  counts <- lme4::isGLMM(model) && model@resp$family$family == "binomial"
  if (!is.call(written) || counts || NCOL(fitted) > 1) return(outcome)
  steps <- undoing_steps(written, as.vector(fitted), fitted_data(model), environment(stats::formula(model)))
  if (identical(steps, list())) return(outcome)
  family <- if (lme4::isGLMM(model)) model@resp$family else stats::gaussian()
  outcome$text <- one_line(written)
  if (family$link != "identity") outcome$text <- paste(family$link, "of", outcome$text)
  outcome$known <- !is.null(steps)
  if (outcome$known) utils::modifyList(outcome, undoing_form(steps, written, family, outcome$text)) else outcome
}

# The steps that lead from the outcomes fitted to the raw ones; NULL where none are known, or where they lead elsewhere.
# What two columns or more make by arithmetic is the raw outcome itself.
undoing_steps <- function(written, fitted, data, env) {
  columns <- intersect(all.vars(written), names(data))
  if (length(columns) == 1 && leads_to(fitted, data[[columns]])) return(list())
  steps <- list()
  core <- written
  while (is.call(core) && !is_measure(core, data)) {
    undone <- known_step(core, data, env)
    if (is.null(undone)) undone <- line_step(core, take(steps, fitted), data, env)
    if (is.null(undone)) return(NULL)
    steps <- c(steps, undone$steps)
    core <- undone$inner
  }
  if (leads_to(take(steps, fitted), eval(core, data, env))) steps
}

leads_to <- function(found, raw) {
  if (!is.numeric(raw) && !is.logical(raw)) return(FALSE)
  isTRUE(all(abs(found - raw) <= 1e-8 * diff(range(raw)) + 1e-12 * max(abs(raw))))
}

take <- function(steps, values) {
  for (step in steps) values <- step$inverse(values)
  values
}

varies <- function(part, data) any(all.vars(part) %in% names(data))

# A call of a known function of one argument that varies.
known_step <- function(core, data, env) {
  if (!called(core) %in% known_functions) return(NULL)
  arguments <- as.list(core)[-1]
  moving <- which(vapply(arguments, varies, NA, data = data))
  constants <- lapply(arguments[-moving], function(part) tryCatch(eval(part, env), error = function(e) NULL))
  if (length(moving) != 1 || !all(vapply(constants, is_one_number, NA))) return(NULL)
  steps <- undo_call(called(core), moving == 1, unlist(constants))
  if (!is.null(steps)) list(steps = steps, inner = arguments[[moving]])
}

# A call that is a straight line in one of its arguments, as scale(y) or y - mean(y) is.
line_step <- function(core, values, data, env) {
  for (place in seq_along(core)[-1]) {
    inner <- tryCatch(as.vector(eval(core[[place]], data, env)), error = function(e) NULL)
    if (!is.numeric(inner) || length(inner) != length(values) || length(unique(inner)) < 3) next
    ends <- c(which.min(inner), which.max(inner))
    slope <- diff(inner[ends]) / diff(values[ends])
    steps <- list(straight(inner[ends[1]] - slope * values[ends[1]], slope))
    if (leads_to(take(steps, values), inner)) return(list(steps = steps, inner = core[[place]]))
  }
}

is_one_number <- function(x) is.numeric(x) && length(x) == 1 && is.finite(x)

called <- function(call) {
  name <- call[[1]]
  if (is.call(name) && as.character(name[[1]]) == "::") name <- name[[3]]
  if (is.name(name)) as.character(name) else ""
}

is_measure <- function(part, data) {
  names <- all.vars(part)
  sum(names %in% names(data)) > 1 && all(all.names(part) %in% c("+", "-", "*", "/", "^", "(", "I", names))
}

# What undoes one call, as a list of steps; NULL where that is not known. `k` holds the arguments that do not vary.
undo_call <- function(name, first, k) {
  if (length(k) == 0) {
    return(if (name == "-") list(straight(0, -1)) else if (name == "+") list() else inverses[[name]])
  }
  if (length(k) > 1) return(NULL)
  switch(name,
    log = , logb = list(straight(0, log(k)), raise),
    "+" = list(straight(-k, 1)),
    "-" = list(if (first) straight(k, 1) else straight(k, -1)),
    "*" = list(straight(0, 1 / k)),
    "/" = list(if (first) straight(0, k) else step(function(z) k / pmax(z, 0), function(z) -k / z^2)),
    "^" = list(if (first) root(k) else step(function(z) log(pmax(z, 0)) / log(k), function(z) 1 / (z * log(k))))
  )
}

# A step has an inverse, and its slope. Where a function is not one to one, or its inverse ends, the step does.
step <- function(inverse, slope, form = "other") list(inverse = inverse, slope = slope, form = form)
straight <- function(shift, slope) step(function(z) shift + slope * z, function(z) rep(slope, length(z)), "straight")
between <- function(z, low, high = Inf) pmin(pmax(z, low), high)
raise <- step(exp, exp, "exp")
root <- function(p) {
  odd <- p > 0 && p %% 2 == 1
  size <- if (odd) abs else function(z) pmax(z, 0)
  step(function(z) (if (odd) sign(z) else 1) * size(z)^(1 / p), function(z) size(z)^(1 / p - 1) / p)
}

inverses <- list(
  "(" = list(), I = list(), identity = list(), as.numeric = list(), as.double = list(), as.vector = list(),
  log = list(raise), log2 = list(straight(0, log(2)), raise), log10 = list(straight(0, log(10)), raise),
  log1p = list(raise, straight(-1, 1)),
  exp = list(step(function(z) log(pmax(z, 0)), function(z) 1 / z)),
  expm1 = list(step(function(z) log1p(pmax(z, -1)), function(z) 1 / (1 + z))),
  sqrt = list(step(function(z) pmax(z, 0)^2, function(z) 2 * pmax(z, 0))),
  asin = list(step(function(z) sin(between(z, -pi / 2, pi / 2)), function(z) cos(between(z, -pi / 2, pi / 2)))),
  asinh = list(step(sinh, cosh)), sinh = list(step(asinh, function(z) 1 / sqrt(1 + z^2))),
  atanh = list(step(tanh, function(z) 1 - tanh(z)^2)),
  tanh = list(step(function(z) atanh(between(z, -1, 1)), function(z) 1 / (1 - z^2))),
  qlogis = list(step(stats::plogis, stats::dlogis)), qnorm = list(step(stats::pnorm, stats::dnorm)),
  plogis = list(step(function(z) stats::qlogis(between(z, 0, 1)), function(z) 1 / (z * (1 - z)))),
  pnorm = list(step(function(z) stats::qnorm(between(z, 0, 1)), function(z) 1 / stats::dnorm(stats::qnorm(z))))
)
known_functions <- c(names(inverses), "logb", "+", "-", "*", "/", "^")

# These steps as fitted_outcome() gives them. Straight lines leave differences what they are, and logs ratios.
undoing_form <- function(steps, written, family, text) {
  forms <- vapply(steps, `[[`, "", "form")
  link <- family$link
  if (all(forms == "straight")) {
    ends <- take(steps, c(0, 1))
    if (link == "identity") return(list(shift = ends[1], slope = diff(ends)))
    if (link == "log" && ends[1] == 0 && ends[2] > 0) return(list(shift = log(ends[2])))
  }
  if (link != "identity") {
    return(list(tran = link_of(c(list(step(family$linkinv, family$mu.eta)), steps), text)))
  }
  named <- called(written)
  alone <- length(written) == 2 && length(steps) == length(inverses[[named]])
  if (alone && named %in% c("log2", "log10", "log1p", "sqrt")) return(list(tran = named, own = TRUE))
  raised <- which(forms == "exp")
  if (length(raised) == 1 && all(forms[-raised] == "straight")) {
    before <- take(steps[seq_len(raised - 1)], c(0, 1))
    after <- take(steps[-seq_len(raised)], c(0, 1))
    # Of log(y + 1) the ratios are not those of y.
    if (diff(after) > 0 && after[1] == 0) {
      shift <- before[1] + log(diff(after))
      slope <- diff(before)
      return(list(tran = "log", shift = shift, slope = slope, own = shift == 0 && slope == 1))
    }
  }
  list(tran = link_of(steps, text))
}

link_of <- function(steps, name) {
  slope <- function(eta) {
    product <- rep(1, length(eta))
    for (step in steps) {
      product <- product * step$slope(eta)
      eta <- step$inverse(eta)
    }
    product
  }
  list(linkinv = function(eta) take(steps, eta), mu.eta = slope, valideta = function(eta) TRUE, name = name)
}

# What on_scale() multiplies a grid by.
grid_slope <- function(outcome, type) if (type == "response" && outcome$text != "" && !outcome$own) outcome$slope else 1

# A grid on the scale that is asked for. On that of what was fitted it but bears a name.
on_scale <- function(grid, outcome, type) {
  if (outcome$text == "" || outcome$own) return(grid)
  if (type == "link") {
    if (is.null(grid@misc$tran)) grid@misc$tran <- link_of(list(), outcome$text)
    return(grid)
  }
  grid@bhat <- outcome$slope * grid@bhat
  grid@V <- outcome$slope^2 * grid@V
  known <- grid@grid$.offset.
  grid@grid$.offset. <- outcome$shift + outcome$slope * (if (is.null(known)) numeric(nrow(grid@grid)) else known)
  with_inverse(grid, outcome)
}

with_inverse <- function(grid, outcome) {
  if (is.null(outcome$tran)) return(grid)
  grid@misc$tran <- outcome$tran
  grid@misc$inv.lbl <- "response"
  grid
}
