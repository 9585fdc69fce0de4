# Results of filterscope as R data frames; needs hdf5r (Debian: r-cran-hdf5r).
#
#     source("analysis/filterscope.R")
#     results <- fs_open("sweep.h5")         # also while the sweep is writing: what is complete is there
#     results$layers; results$filters        # data frames; $probes, $history, $cluster_sizes too
#     results$knockout_filters               # what is lost without a filter, and $knockout_layers: where sweep had --knockout
#     results$knockout_groups                # and without a group of filters, and $knockout_curves: where it had --groups, --curve
#     results$field(5, 17)                   # filter 17 (from 0) of layer 5: matrix [input label, output unit]
#     results$clusters(5, 17)                # number of each label's cluster, 0 for none
#     results$drops(5)                       # of the SR without a filter: matrix [filter, label]
#     results$name(6)                        # fc1, say
#     fs_open("a.h5", "b.h5")$layers         # several files, told apart by the columns file, arch, model and seed
#     fs_pruning_means(fs_pruning("pruned")) # what jobs/prune.sh found: SR by threshold and control, means over seeds
#
# The tables are those of `filterscope export`, column by column; attr(table, "units") has the unit of each column that has one.
# filterscope_figures.R draws. hdf5r shows an array's dimensions in reverse order; field() and clusters() turn them back.

Sys.setenv(HDF5_USE_FILE_LOCKING = "FALSE") # read while another program writes
suppressPackageStartupMessages(library(hdf5r))

fs_tables <- c("layers", "filters", "probes", "history", "cluster_sizes", "knockout_filters", "knockout_layers",
  "knockout_groups", "knockout_curves")

.fs_training <- c(train_loss = "nats an image", train_sr = "share of images", test_sr = "share of images")
.fs_units <- list(
  layers = c(filters = "filters", dead = "filters", clustered = "filters", sr = "share of images",
    clusters = "clusters a filter", covered = "labels a filter", noise = "elements a filter",
    clusters_with = "clusters a filter", covered_with = "labels a filter", noise_with = "elements a filter",
    cluster_size = "labels", signal = "per label", noise_internal = "per label pair", noise_external = "per label pair",
    snr = "1", share = "share of images"),
  filters = c(clusters = "clusters", covered = "labels", ones = "elements", noise = "elements", noise_internal = "elements",
    noise_external = "elements", dead = "0 or 1", share = "share of images", sr = "share of images", largest = "logits"),
  probes = c(filters = "filters", height = "pixels", width = "pixels", pooled = "0 or 1", epochs = "epochs", .fs_training),
  history = c(epoch = "epochs", lr = "1", .fs_training),
  cluster_sizes = c(size = "labels", clusters = "clusters"),
  knockout_filters = c(right = "images", changed = "images", run = "images", same = "images", hidden = "images",
    drop = "share of images", loss = "nats an image", worst_drop = "share of images", drop_clustered = "share of images",
    drop_others = "share of images", auc = "1", correlation = "1"),
  knockout_layers = c(filters = "filters", harmless = "filters", compared = "filters", drop = "share of images",
    worst_drop = "share of images", drop_clustered = "share of images", drop_others = "share of images", correlation = "1",
    auc = "1", auc_low = "1", auc_high = "1", r_clusters = "1", r_covered = "1", r_noise = "1", r_share = "1", r_sr = "1",
    run = "share of experiments", same = "share of experiments", hidden = "share of experiments"),
  knockout_groups = c(filters = "filters", right = "images", changed = "images", drop = "share of images", loss = "nats an image",
    drop_own = "share of images", drop_others = "share of images", above = "share of draws"),
  knockout_curves = c(out = "filters", left = "filters", right = "images", changed = "images", sr = "share of images",
    drop = "share of images", loss = "nats an image"))
# Columns of those of /knockout that may be missing, where they are texts or numbers without a unit.
.fs_knockout_columns <- list(filters = c("layer", "filter", "worst"), layers = "layer",
  groups = c("layer", "group", "own", "form", "draw"), curves = c("layer", "order", "draw"))

.fs_with_file <- function(path, use) {
  if (!file.exists(path)) stop(path, ": no such file", call. = FALSE)
  file <- tryCatch(H5File$new(path, mode = "r"), error = function(e) stop(path, ": cannot be read as HDF5", call. = FALSE))
  on.exit(file$close()) # close_all would close ids that R still collects
  use(file)
}

# Texts of old files may be no UTF-8, which R's graphics refuse: then <e4> stands for the byte.
.fs_text <- function(value) if (is.character(value)) iconv(value, "UTF-8", "UTF-8", sub = "byte") else value

.fs_read <- function(file, name) {
  set <- file[[name]]
  on.exit(set$close())
  value <- set$read()
  if (is.data.frame(value)) value[] <- lapply(value, function(v) if (inherits(v, "integer64")) as.numeric(v) else .fs_text(v))
  .fs_text(value)
}

# Whether a dataset is in one piece of its file and means only itself, as all of ours do.
.fs_in_place <- function(set) {
  made <- set$get_create_plist()
  type <- set$get_type()
  on.exit({ made$close(); type$close() })
  leads <- c(h5const$H5T_VLEN, h5const$H5T_REFERENCE)
  made$get_layout() == "H5D_CONTIGUOUS" && made$get_external_count() == 0 && !type$is_committed() && !type$is_vlen() &&
    !any(vapply(leads, type$detect_class, TRUE))
}

# Whether all of a dataset lies within the file.
.fs_holds <- function(path, set) {
  type <- set$get_type()
  on.exit(type$close())
  bytes <- prod(as.numeric(set$dims)) * as.numeric(type$get_size())
  bytes == 0 || as.numeric(set$get_storage_size()) > 0 && as.numeric(set$get_offset()) + bytes <= file.size(path)
}

# Stops where something in the file leads elsewhere.
.fs_check_contained <- function(path, group, above = character()) {
  for (name in names(group)) {
    where <- paste(c(path, paste0("/", paste(c(above, name), collapse = "/"))), collapse = ": ")
    if (group$link_info(name)$type != "H5L_TYPE_HARD")
      stop(where, " is a soft, external or user-defined link", call. = FALSE)
    node <- group[[name]]
    if (inherits(node, "H5Group") && length(above) < 3) .fs_check_contained(path, node, c(above, name))
    else if (!inherits(node, "H5D") || !.fs_in_place(node))
      stop(where, " is not in this file, in one piece and as it is", call. = FALSE)
    else if (!.fs_holds(path, node)) stop(where, ", ", paste(rev(node$dims), collapse = " x "), ", is larger than the file", call. = FALSE)
    node$close()
  }
}

.fs_describe <- function(path) {
  .fs_with_file(path, function(file) {
    if (!file$attr_exists("format") || h5attr(file, "format") != "filterscope-results")
      stop(path, ": not a filterscope results file", call. = FALSE)
    if (!h5attr(file, "format_version") %in% 2:3)
      stop(path, ": format version ", h5attr(file, "format_version"), ", this script reads 2 and 3", call. = FALSE)
    .fs_check_contained(path, file)
    config <- .fs_read(file, "config")
    config <- setNames(as.list(config$value), config$key)
    model <- strsplit(config$model, ", CRC ", fixed = TRUE)[[1]]
    list(path = path, config = config, labels = as.character(.fs_read(file, "labels")), map = .fs_read(file, "layers"),
      arch = model[1], model = model[2], seed = as.numeric(config$seed), threshold = as.numeric(config$threshold))
  })
}

.fs_read_units <- function(file) {
  units <- .fs_read(file, "units")
  units$done <- units$state == 1
  units
}

# Layers whose rows of the layer tables hold; to be called before those are read.
.fs_silenced <- function(file) {
  if (.fs_read(file, "state")$complete != 1) return(integer())
  units <- .fs_read_units(file)
  done <- with(units[units$kind <= 2, ], tapply(done, layer, all))
  as.integer(names(done)[done])
}

# Epochs of each layer's probe that are complete, from the newer of the layer's two slots.
.fs_epochs <- function(file, run) {
  units <- .fs_read_units(file)
  slots <- .fs_read(file, "resume/slots")
  first <- seq(1, nrow(slots), by = 2)
  newest <- ifelse(slots$sequence[first + 1] > slots$sequence[first], slots$epoch[first + 1], slots$epoch[first])
  probed <- run$map$layer %in% units$layer[units$kind == 1 & units$done]
  as.integer(ifelse(probed, as.numeric(run$config$epochs), newest))
}

# The layer's name after its number, and units.
.fs_finish <- function(run, name, table) {
  place <- match("layer", names(table))
  named <- data.frame(name = run$map$name[match(table$layer, run$map$layer)])
  table <- cbind(table[seq_len(place)], named, table[-seq_len(place)])
  rownames(table) <- NULL
  attr(table, "units") <- .fs_units[[name]]
  table
}

.fs_layers <- function(run) .fs_with_file(run$path, function(file) {
  silenced <- .fs_silenced(file)
  table <- .fs_read(file, "silence/layers")
  .fs_finish(run, "layers", table[table$layer %in% silenced, ])
})

# Labels' names after their numbers; "" after -1.
.fs_name_labels <- function(run, table, column) {
  place <- match(column, names(table))
  label <- setNames(data.frame(c("", run$labels)[table[[column]] + 2]), paste0(column, "_label"))
  cbind(table[seq_len(place)], label, table[-seq_len(place)])
}

# A table of /knockout once it is complete; without rows before, and where there is none.
.fs_knocked_out <- function(run, name, state = "state") .fs_with_file(run$path, function(file) {
  table <- paste0("knockout_", name)
  state <- paste0("knockout/", state)
  if (file$exists("knockout") && file$exists(state) && .fs_read(file, state)$complete == 1)
    rows <- .fs_read(file, paste0("knockout/", name))
  else {
    columns <- c(.fs_knockout_columns[[name]], names(.fs_units[[table]]))
    if (name == "filters") columns <- append(setdiff(columns, "worst"), "worst", match("hidden", columns) - 1)
    rows <- as.data.frame(setNames(rep(list(integer()), length(columns)), columns))
  }
  for (column in intersect(c("worst", "own"), names(rows))) rows <- .fs_name_labels(run, rows, column)
  .fs_finish(run, table, rows)
})

# Drop of each label's SR without each filter of a layer: matrix [filter, label].
.fs_drops <- function(run, layer) .fs_with_file(run$path, function(file) {
  units <- .fs_read_units(file)
  units <- units[units$kind == 3 | units$kind == 4 & units$layer == layer, ]
  if (!any(units$kind == 4) || !all(units$done))
    stop(run$path, ": the filters of layer ", layer, " were not all knocked out", call. = FALSE)
  baseline <- .fs_read(file, "knockout/baseline")
  right <- matrix(.fs_read(file, paste0("knockout/", layer, "/right")), nrow = length(run$labels)) # [label, filter]
  drops <- t((baseline$right - right) / baseline$images)
  dimnames(drops) <- list(filter = seq_len(nrow(drops)) - 1, label = run$labels)
  drops
})

.fs_filters <- function(run) .fs_with_file(run$path, function(file) {
  units <- .fs_read_units(file)
  table <- .fs_read(file, "silence/filters")
  blocks <- units[units$kind == 2 & units$done, ]
  done <- unlist(Map(function(layer, first, count) paste(layer, first + seq_len(count) - 1), blocks$layer, blocks$first,
    blocks$count))
  table <- table[paste(table$layer, table$filter) %in% done, ]
  .fs_finish(run, "filters", .fs_name_labels(run, table, "selected"))
})

.fs_history <- function(run) .fs_with_file(run$path, function(file) {
  epochs <- .fs_epochs(file, run)
  table <- .fs_read(file, "probe/history")
  .fs_finish(run, "history", table[table$epoch <= epochs[match(table$layer, run$map$layer)], ])
})

.fs_probes <- function(run) {
  epochs <- .fs_with_file(run$path, function(file) .fs_epochs(file, run))
  history <- .fs_history(run)
  last <- match(paste(run$map$layer, epochs), paste(history$layer, history$epoch))
  map <- run$map[c("layer", "filters", "height", "width", "pooled")]
  .fs_finish(run, "probes", cbind(map, epochs = epochs, history[last, c("train_loss", "train_sr", "test_sr")]))
}

.fs_cluster_sizes <- function(run) .fs_with_file(run$path, function(file) {
  silenced <- .fs_silenced(file)
  sizes <- matrix(.fs_read(file, "silence/cluster_sizes"), ncol = nrow(run$map)) # [size + 1, layer], also of one layer
  count <- nrow(sizes) - 1L
  table <- data.frame(layer = rep(run$map$layer, each = count), size = rep(seq_len(count), ncol(sizes)),
    clusters = as.integer(sizes[-1, ]))
  .fs_finish(run, "cluster_sizes", table[table$layer %in% silenced, ])
})

# One filter's part of /silence/<layer>/<kind>, dimensions still reversed.
.fs_filter <- function(run, kind, layer, filter) .fs_with_file(run$path, function(file) {
  filters <- run$map$filters[run$map$layer == layer]
  if (!length(filters)) stop(run$path, ": layer ", layer, " was not probed", call. = FALSE)
  if (!filter %in% seq(0, filters - 1))
    stop(run$path, ": layer ", layer, " has no filter ", filter, ", only 0 to ", filters - 1, call. = FALSE)
  units <- .fs_read_units(file)
  block <- units[units$kind == 2 & units$layer == layer & units$first <= filter & filter < units$first + units$count, ]
  if (!block$done) stop(run$path, ": filter ", filter, " of layer ", layer, " is not done yet", call. = FALSE)
  set <- file[[paste("silence", layer, kind, sep = "/")]]
  on.exit(set$close())
  if (kind == "field") set[, , filter + 1] else set[, filter + 1]
})

.fs_read_table <- list(layers = .fs_layers, filters = .fs_filters, probes = .fs_probes, history = .fs_history,
  cluster_sizes = .fs_cluster_sizes, knockout_filters = function(run) .fs_knocked_out(run, "filters"),
  knockout_layers = function(run) .fs_knocked_out(run, "layers"),
  knockout_groups = function(run) .fs_knocked_out(run, "groups", "groups_state"),
  knockout_curves = function(run) .fs_knocked_out(run, "curves", "curves_state"))

# A table of all files; of several, with the columns file, arch, model and seed in front.
.fs_join <- function(runs, name) {
  parts <- lapply(runs, .fs_read_table[[name]])
  if (length(runs) == 1) return(parts[[1]])
  table <- do.call(rbind, Map(function(run, part) cbind(file = rep(run$path, nrow(part)), arch = rep(run$arch, nrow(part)),
    model = rep(run$model, nrow(part)), seed = rep(run$seed, nrow(part)), part), runs, parts))
  attr(table, "units") <- .fs_units[[name]]
  table
}

# Opens one or several results files. Each access to a table reads the file anew and leaves it closed. An error names file and
# cause where one is missing, foreign or of another format.
fs_open <- function(...) {
  runs <- lapply(c(...), .fs_describe)
  if (!length(runs)) stop("no results file was named", call. = FALSE)
  results <- new.env()
  results$runs <- runs
  for (name in fs_tables) local({
    table <- name
    makeActiveBinding(table, function() .fs_join(runs, table), results)
  })
  if (length(runs) == 1) {
    run <- runs[[1]]
    for (name in c("path", "config", "labels", "arch", "model", "seed", "threshold")) assign(name, run[[name]], results)
    results$field <- function(layer, filter)
      matrix(t(.fs_filter(run, "field", layer, filter)), length(run$labels), length(run$labels),
        dimnames = list("input label" = run$labels, "output unit" = run$labels))
    results$clusters <- function(layer, filter)
      setNames(as.integer(.fs_filter(run, "cluster", layer, filter)), run$labels)
    results$drops <- function(layer) .fs_drops(run, layer)
    results$name <- function(layer) run$map$name[match(layer, run$map$layer)]
  }
  class(results) <- "filterscope"
  results
}

print.filterscope <- function(x, ...) {
  for (run in x$runs)
    cat("filterscope results ", encodeString(run$path), ": ", encodeString(run$arch), ", ", nrow(run$map), " layers, K = ",
      length(run$labels), "\n", sep = "")
  invisible(x)
}

# What kept the kernels, as tables say it; AFCC and its controls (ours).
fs_controls <- c(none = "AFCC", random = "random kernels", l1 = "L1 norm", clusters = "random clusters", knockout = "knock-out")

# What jobs/prune.sh found in its folder OUT, as analysis/pruning.py wrote it: a row a pruned network with its threshold, control and
# seed, the kept share of all parameters and, as kept_conv2, of each layer's kernels, sr_before, sr_pruned and sr_retrained.
fs_pruning <- function(folder) {
  path <- file.path(folder, "pruning.csv")
  if (!file.exists(path)) stop(path, ": no such file; analysis/pruning.py writes it", call. = FALSE)
  table <- tryCatch(read.csv(path, na.strings = "", check.names = FALSE, colClasses = c(control = "character")),
    error = function(e) data.frame(), warning = function(w) data.frame())
  wanted <- c("threshold", "control", "seed", "kept", "sr_before", "sr_pruned", "sr_retrained")
  numbers <- setdiff(names(table), "control")
  if (!all(wanted %in% names(table)) || !nrow(table) || !all(vapply(table[numbers], function(v) is.numeric(v) || all(is.na(v)), TRUE)))
    stop(path, ": no table of analysis/pruning.py", call. = FALSE)
  table
}

# Of such a table, means and standard deviations over seeds: a row a threshold and control. One seed has no deviation.
fs_pruning_means <- function(table) {
  rows <- unique(table[order(table$threshold, match(table$control, names(fs_controls))), c("threshold", "control")])
  parts <- Map(function(threshold, control) table[table$threshold == threshold & table$control == control, ], rows$threshold, rows$control)
  over <- function(column, of) vapply(parts, function(part) {
    values <- part[[column]][!is.na(part[[column]])]
    if (length(values)) as.numeric(of(values)) else NA_real_
  }, 0)
  name <- fs_controls[rows$control]
  data.frame(threshold = rows$threshold, control = unname(ifelse(is.na(name), rows$control, name)),
    seeds = vapply(parts, nrow, 0L), kept = over("kept", mean), sr_before = over("sr_before", mean),
    sr_pruned = over("sr_pruned", mean), sr_pruned_std = over("sr_pruned", sd), sr_retrained = over("sr_retrained", mean),
    sr_retrained_std = over("sr_retrained", sd), row.names = NULL)
}
