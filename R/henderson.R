# The precision of x b + z u, b the coefficients and u the random effects: from Henderson's equations as
# lme4 factorizes them, in the coordinates in which u = Lambda v and var(v) = s^2 I, s^2 = effect_variance(), W s^2
# over the variances of y (sigma^2 = s^2 in a linear model),
#   L L' = Lambda'Z'WZ Lambda + I,   L RZX = Lambda'Z'WX,   RX'RX = X'WX - RZX'RZX,
# Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), where L is that of the permuted rows.

# The rows of Z for new data. Each has one number a random effect in the formula: `value`, and `place`, the
# random effect of the fit that it belongs to, NA where the group is not one of the fit's or none is asked for.
random_rows <- function(model, data, grouped) {
  parts <- lme4::getME(model, c("cnms", "flist", "Gp"))
  sizes <- lengths(parts$cnms)
  places <- lapply(seq_along(sizes), function(t) {
    if (!grouped) return(matrix(NA_integer_, nrow(data), sizes[t]))
    groups <- levels(parts$flist[[attr(parts$flist, "assign")[t]]])
    outer((match(group_labels(names(sizes)[t], data, model), groups) - 1L) * sizes[t] + parts$Gp[t], seq_len(sizes[t]), `+`)
  })
  list(
    value = do.call(cbind, random_designs(model, parts$cnms, data)), place = do.call(cbind, places),
    term = rep(seq_along(sizes), sizes), start = parts$Gp
  )
}

# The design of each random-effects term, in the order of the fit, which is not that of the formula.
random_designs <- function(model, names, data) {
  designs <- vector("list", length(names))
  for (bar in random_bars(model)) {
    design <- term_design(model, bar[[2]], data)
    group <- one_line(bar[[3]])
    fits <- vapply(names, identical, NA, colnames(design)) & names(names) == group & vapply(designs, is.null, NA)
    if (!any(fits)) stop("the random-effects term (", deparse(bar, 500L)[1], ") can't be made again for new rows")
    designs[[which(fits)[1]]] <- design
  }
  designs
}

random_bars <- function(model) taken_apart("findbars")(stats::formula(model))

# lme4 leaves the functions that take formulas apart to a package of their own, from 1.1-36 on.
taken_apart <- function(name) {
  getExportedValue(if (isNamespaceLoaded("reformulas")) "reformulas" else "lme4", name)
}

# The random-effects terms as they are written, with their parentheses or their structure.
random_terms <- function(formula) {
  lapply(written_bars(formula[[3]]), function(term) if (is_bar(term)) call("(", term) else term)
}

sum_of <- function(terms) Reduce(function(left, right) call("+", left, right), terms)

# The columns of a term, with the knots, means, levels and contrasts of the fit.
term_design <- function(model, expression, data) {
  known <- stats::terms(model, random.only = TRUE)
  terms <- stats::terms(stats::as.formula(call("~", expression), environment(stats::formula(model))))
  used <- variable_names(terms)
  how <- as.list(attr(known, "predvars"))[-1][match(used, variable_names(known))]
  attr(terms, "predvars") <- as.call(c(quote(list), how))
  fitted <- model@frame[used]
  fitted <- fitted[vapply(fitted, is.factor, NA)]
  frame <- stats::model.frame(terms, data, na.action = stats::na.pass, xlev = lapply(fitted, levels))
  stats::model.matrix(terms, frame, contrasts.arg = if (length(fitted)) lapply(fitted, stats::contrasts))
}

variable_names <- function(terms) {
  vapply(as.list(attr(terms, "variables"))[-1], one_line, "")
}

# What the precision of a fit takes. The factor that a generalized fit keeps is that of the last weights but one,
# and whether these are divided by the dispersion depends on the version of lme4: it is made again.
precision_parts <- function(model) {
  parts <- lme4::getME(model, c("L", "RZX", "RX", "Lambdat"))
  if (lme4::isLMM(model)) return(parts)
  scale <- as.vector(model@resp$sqrtXwt) * sqrt(effect_variance(model)) / stats::sigma(model)
  U <- Matrix::t(parts$Lambdat %*% lme4::getME(model, "Zt")) * scale
  X <- lme4::getME(model, "X") * scale
  parts$L <- Matrix::update(parts$L, Matrix::t(U), mult = 1)
  cross <- Matrix::solve(parts$L, Matrix::crossprod(U, X), system = "P")
  parts$RZX <- as.matrix(Matrix::solve(parts$L, cross, system = "L"))
  parts$RX <- chol(crossprod(X) - crossprod(parts$RZX))
  parts
}

# var(x b^ + z u^ - z u) / sigma^2 for each row: v A^-1 v' + |RX'^-1 (x - v A^-1 Lambda'Z'WX)'|^2 with
# v = z Lambda and A = L L'.
row_variance <- function(parts, rows) {
  Z <- spherical_rows(parts$Lambdat, rows$Z)
  known <- which(!is.na(Z$place), arr.ind = TRUE)
  v <- Matrix::sparseMatrix(known[, 1], Z$place[known], x = Z$value[known], dims = c(nrow(rows$X), nrow(parts$Lambdat)))
  random <- inverse_form(parts$L, Z$place, Z$value)
  if (ncol(rows$X) == 0) return(random)
  pulled <- Matrix::solve(parts$L, Matrix::solve(parts$L, parts$RZX, system = "Lt"), system = "Pt")
  fixed <- backsolve(as.matrix(parts$RX), t(rows$X - as.matrix(v %*% pulled)), transpose = TRUE)
  random + colSums(fixed^2)
}

# z G z' / sigma^2 for each row, over the random effects that are not the fit's.
unseen_variance <- function(Lambdat, rows) {
  Z <- spherical_rows(Lambdat, rows$Z)
  rowSums(Z$value^2 * is.na(Z$place))
}

# Rows z as z Lambda. Lambda has one block a term, the same for each of its groups.
spherical_rows <- function(Lambdat, Z) {
  for (t in unique(Z$term)) {
    columns <- which(Z$term == t)
    Z$value[, columns] <- Z$value[, columns, drop = FALSE] %*% t(term_block(Lambdat, Z$start[t], length(columns)))
  }
  Z
}

term_block <- function(Lambdat, start, size) {
  at <- start + seq_len(size)
  as.matrix(Lambdat[at, at, drop = FALSE])
}

# v (L L')^-1 v' for each row v, given by its numbers and their places. Columns of the inverse are solved
# for, those that the rows use and a block at a time; columns of groups that share no observation are
# solved for together, since they have no row in common.
inverse_form <- function(L, place, value) {
  value[is.na(place)] <- 0
  used <- sort(unique(as.vector(place[!is.na(place)])))
  total <- numeric(nrow(place))
  if (length(used) == 0) return(total)
  place[is.na(place)] <- used[1]
  component <- components(L)
  colour <- integer(length(component))
  colour[used] <- stats::ave(used, component[used], FUN = seq_along)
  blocks <- split(seq_len(max(colour)), (seq_len(max(colour)) - 1) %/% max(1, 4e6 %/% length(component)))
  for (block in blocks) {
    columns <- used[colour[used] %in% block]
    right <- matrix(0, length(component), length(block))
    right[cbind(columns, match(colour[columns], block))] <- 1
    inverse <- as.matrix(Matrix::solve(L, right, system = "A"))
    for (a in seq_len(ncol(place))) {
      rows <- which(colour[place[, a]] %in% block)
      column <- match(colour[place[rows, a]], block)
      for (b in seq_len(ncol(place))) {
        joined <- component[place[rows, a]] == component[place[rows, b]]
        entry <- inverse[cbind(place[rows, b], column)]
        total[rows] <- total[rows] + joined * value[rows, a] * value[rows, b] * entry
      }
    }
  }
  total
}

triangle_of <- function(L) {
  if (exists("expand1", asNamespace("Matrix"))) Matrix::expand1(L, "L") else methods::as(L, "sparseMatrix")
}

# Which random effects are joined by observations: the trees of the elimination forest of L. A number for
# each random effect, the same for those of a tree.
components <- function(L) {
  factor <- triangle_of(L)
  n <- ncol(factor)
  column <- rep(seq_len(n), diff(factor@p))
  row <- factor@i + 1L
  below <- which(row > column)
  below <- below[order(column[below], row[below])]
  first <- below[!duplicated(column[below])]
  parent <- replace(seq_len(n), column[first], row[first])
  while (!identical(parent, further <- parent[parent])) parent <- further
  replace(parent, L@perm + 1L, parent)
}
