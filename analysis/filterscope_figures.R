# Figures of filterscope's results with ggplot2 (Debian: r-cran-ggplot2); needs filterscope.R beside it.
#
#     Rscript analysis/filterscope_figures.R sweep.h5 [more.h5 ...] --out figures       # all, as PNG and PDF
#     Rscript analysis/filterscope_figures.R --pruned pruned --out figures              # of OUT of jobs/prune.sh; also beside others
#
#     source("analysis/filterscope.R"); source("analysis/filterscope_figures.R")
#     fs_plot_sr(fs_open("sweep.h5"))          # each fs_plot_... returns a ggplot; fs_save writes PNG and PDF
#
# Files are told apart by colour (Okabe and Ito's palette) and shape. All but fs_plot_field, fs_plot_drops and fs_plot_curves take
# one or several files.

suppressPackageStartupMessages(library(ggplot2))

.fs_colours <- c("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
.fs_look <- function() theme_bw(base_size = 12) + theme(panel.grid.minor = element_blank(), legend.position = "bottom")

# The table with a column `network`: the architecture, and the file where that does not tell; one level where there is one file.
.fs_network <- function(results, table) {
  if (!nrow(table)) stop("nothing is complete yet", call. = FALSE)
  runs <- results$runs
  archs <- vapply(runs, function(run) run$arch, "")
  stems <- sub("\\.[^.]*$", "", basename(vapply(runs, function(run) run$path, "")))
  names <- if (anyDuplicated(archs)) paste(archs, stems, sep = ", ") else archs
  paths <- vapply(runs, function(run) run$path, "")
  table$network <- factor(if (is.null(table$file)) names[1] else names[match(table$file, paths)], unique(names))
  table
}

# Names of the table's layers, in order; of networks that call one differently, as conv6/fc1.
.fs_layer_names <- function(table) vapply(split(table$name, table$layer), function(names) paste(unique(names), collapse = "/"), "")

# The axis of layers, by name.
.fs_layer_axis <- function(table) {
  names <- .fs_layer_names(table)
  scale_x_continuous("layer", breaks = as.integer(names(names)), labels = names,
    guide = guide_axis(angle = if (length(names) > 6) 90 else 0))
}

# Which panel each row of the table is in: that of its layer, by name.
.fs_layer_panel <- function(table) {
  names <- .fs_layer_names(table)
  factor(names[as.character(table$layer)], names)
}

.fs_by_layer <- function(table) {
  plot <- ggplot(table, aes(layer, value, colour = network, shape = network)) + geom_line() + geom_point(size = 2.5) +
    scale_colour_manual(values = .fs_colours) + .fs_layer_axis(table) + labs(colour = NULL, shape = NULL) + .fs_look()
  if (nlevels(table$network) == 1) plot + guides(colour = "none", shape = "none") else plot
}

# SR of each layer's probe.
fs_plot_sr <- function(results) {
  table <- .fs_network(results, results$layers)
  table$value <- table$sr
  chance <- unique(vapply(results$runs, function(run) 1 / length(run$labels), 0))
  .fs_by_layer(table) + geom_hline(yintercept = chance, linetype = "dotted", colour = "grey40") +
    scale_y_continuous("SR (share of test images; dotted: chance)", limits = c(0, 1)) +
    ggtitle("Success rate of each layer's probe")
}

# N_c, C_s, noise and SNR by layer.
fs_plot_clusters <- function(results) {
  table <- .fs_network(results, results$layers)
  panels <- c(clusters = "N_c (clusters a filter)", cluster_size = "C_s (labels a cluster)", noise = "noise n (elements a filter)",
    snr = "SNR (ours)")
  table <- do.call(rbind, lapply(names(panels), function(column)
    data.frame(table[c("layer", "name", "network")], value = table[[column]], panel = panels[[column]])))
  table$panel <- factor(table$panel, panels)
  .fs_by_layer(table) + facet_wrap(~panel, scales = "free_y", strip.position = "left") + expand_limits(y = 0) + ylab(NULL) +
    theme(strip.placement = "outside", strip.background = element_blank()) + ggtitle("Clusters, noise and signal to noise")
}

# The filter of `layer` whose clusters show best, by the same rule as in Python.
fs_best_filter <- function(results, layer) {
  table <- results$filters
  table <- table[table$layer == layer & table$dead == 0, ]
  if (!nrow(table)) stop("layer ", layer, " has no living filter that is done", call. = FALSE)
  table$filter[order(table$covered <= table$clusters, table$noise, -table$covered, table$filter)[1]]
}

# One filter's field: as it is, clipped, and clipped with the labels ordered by cluster.
fs_plot_field <- function(results, layer = max(results$filters$layer), filter = fs_best_filter(results, layer)) {
  field <- results$field(layer, filter)
  if (!(max(field) > 0)) stop("filter ", filter, " of layer ", layer, " is dead", call. = FALSE)
  cluster <- results$clusters(layer, filter)
  field <- field / max(field)
  clipped <- field > results$threshold
  member <- outer(cluster, cluster, "==") & outer(cluster > 0, cluster > 0)
  count <- length(cluster)
  ordered <- order(cluster == 0, cluster, seq_len(count))
  titles <- c("averaged field / its largest element", paste("clipped at", results$threshold), "labels ordered by cluster")
  kind <- ifelse(clipped, ifelse(member, 2, 1), 0)
  # each panel has its own order of labels, so each has its own stretch of positions on the axes
  shift <- 10 * count
  names <- c(results$labels, rep("", shift - count), results$labels, rep("", shift - count), results$labels[ordered])
  panel <- function(number, order, value) {
    place <- (number - 1) * shift + seq_len(count)
    data.frame(panel = titles[number], y = -rep(place, count), x = rep(place, each = count), value = as.vector(value[order, order]))
  }
  table <- rbind(panel(1, seq_len(count), field), panel(2, seq_len(count), kind), panel(3, ordered, kind))
  table$panel <- factor(table$panel, titles)
  shown <- table$panel == titles[1]
  limit <- max(abs(field))
  marks <- table[!shown & table$value > 0, ]
  marks$kind <- factor(ifelse(marks$value == 2, "cluster", "noise"), c("cluster", "noise"))
  breaks <- if (count <= 30) function(limits) seq(ceiling(min(limits)), floor(max(limits))) else NULL
  label <- if (count <= 30) function(place) names[abs(place)] else NULL
  ggplot(table, aes(x, y)) + geom_tile(fill = "white", width = 1, height = 1) +
    geom_tile(aes(fill = value), table[shown, ], width = 1, height = 1) +
    geom_point(aes(colour = kind), marks, shape = 15, size = 0.1) + # for the legend alone; the tiles hide them
    geom_tile(data = marks[marks$kind == "cluster", ], width = 1, height = 1, fill = "#0072B2") +
    geom_tile(data = marks[marks$kind == "noise", ], width = 1, height = 1, fill = "#D55E00") + facet_wrap(~panel, scales = "free") +
    scale_fill_gradient2("field (1 = largest element)", low = "#542788", mid = "white", high = "#B35806",
      limits = c(-limit, limit)) + scale_colour_manual(NULL, values = c(cluster = "#0072B2", noise = "#D55E00"), drop = FALSE) +
    guides(colour = guide_legend(override.aes = list(size = 4))) +
    scale_x_continuous("output unit", breaks = breaks, labels = label, expand = c(0, 0)) +
    scale_y_continuous("input label", breaks = breaks, labels = label, expand = c(0, 0)) +
    ggtitle(sprintf("%s, %s, filter %d: N_c = %d, noise = %d elements", results$arch, results$name(layer),
      as.integer(filter), max(cluster), sum(clipped & !member))) + .fs_look() +
    theme(panel.grid = element_blank(), aspect.ratio = 1, legend.key.width = unit(1.5, "cm"),
      axis.text.x = element_text(angle = 90, vjust = 0.5, hjust = 1))
}

# Share of clusters of each size, a panel a layer.
fs_plot_sizes <- function(results) {
  table <- .fs_network(results, results$cluster_sizes)
  total <- ave(table$clusters, table$network, table$layer, FUN = sum)
  table <- table[table$clusters > 0, ] |> transform(value = clusters / total[table$clusters > 0])
  table$panel <- .fs_layer_panel(table)
  plot <- ggplot(table, aes(size, value, colour = network, shape = network)) + facet_wrap(~panel) + scale_y_log10() +
    labs(x = "cluster size C_s (labels)", y = "share of the layer's clusters", colour = NULL, shape = NULL,
      title = "Cluster sizes") + geom_line() + geom_point() + scale_colour_manual(values = .fs_colours) + .fs_look()
  if (nlevels(table$network) == 1) plot + guides(colour = "none", shape = "none") else plot
}

# Share of the test images on which a filter selects its unit.
fs_plot_share <- function(results) {
  table <- .fs_network(results, results$filters)
  table <- table[table$dead == 0, ]
  plot <- ggplot(table, aes(.fs_layer_panel(table), share, colour = network)) + geom_boxplot(outlier.size = 0.6) +
    scale_colour_manual(values = .fs_colours) + scale_y_continuous("share of the test images (ours)", limits = c(0, 1)) +
    labs(x = "layer", colour = NULL, title = "How often a filter selects its unit") + .fs_look() +
    guides(x = guide_axis(angle = if (length(unique(table$layer)) > 6) 90 else 0))
  if (nlevels(table$network) == 1) plot + guides(colour = "none") else plot
}

# Learning curves of the probes.
fs_plot_history <- function(results) {
  table <- .fs_network(results, results$history)
  curves <- c(train_loss = "training loss (nats an image)", train_sr = "SR on augmented training images (share)",
    test_sr = "SR on test images (share)")
  table <- do.call(rbind, lapply(names(curves), function(column)
    data.frame(table[c("layer", "name", "epoch", "network")], value = table[[column]], panel = curves[[column]])))
  table$panel <- factor(table$panel, curves)
  table <- table[!is.nan(table$value), ]
  names <- .fs_layer_names(table)
  ggplot(table, aes(epoch, value, colour = layer, group = layer)) + geom_line() + geom_point(size = 1) +
    facet_grid(panel ~ network, scales = "free_y", labeller = label_wrap_gen(24)) +
    scale_colour_viridis_c("layer", direction = -1, breaks = as.integer(names(names)), labels = names) +
    scale_x_continuous(breaks = function(limits) unique(round(pretty(limits)))) +
    labs(x = "epoch", y = NULL, title = "The probes while they learned") + .fs_look() +
    theme(legend.key.width = unit(0.1, "npc"))
}

# Lines by layer, a colour each of `kinds`, a panel each of `panels`: rows layer, name, value, kind, panel, network.
.fs_kinds <- function(table, colours) {
  plot <- ggplot(table, aes(layer, value, colour = kind, linetype = kind, shape = network)) + geom_line() + geom_point(size = 2.2) +
    scale_colour_manual(NULL, values = colours) + scale_linetype_discrete(NULL) + facet_wrap(~panel, scales = "free_y") +
    .fs_layer_axis(table) + labs(y = NULL, shape = NULL) + .fs_look()
  if (nlevels(table$network) == 1) plot + guides(shape = "none") else plot
}

# A column's rows for .fs_kinds.
.fs_kind <- function(table, column, kind, panel)
  data.frame(table[c("layer", "name", "network")], value = table[[column]], kind = rep(kind, nrow(table)), panel = rep(panel, nrow(table)))

# What is lost without a filter, and whether clusters tell which labels lose (AUC), with its 95 % interval over filters.
fs_plot_knockout <- function(results) {
  table <- .fs_network(results, results$knockout_layers)
  panels <- c("drop of the SR without a filter, mean over filters (ours)", "AUC, 95 % interval over filters (dotted: tells nothing)")
  kinds <- c("labels in the filter's clusters", "other labels", "AUC")
  rows <- rbind(.fs_kind(table, "drop_clustered", kinds[1], panels[1]), .fs_kind(table, "drop_others", kinds[2], panels[1]),
    .fs_kind(table, "auc", kinds[3], panels[2]))
  rows$kind <- factor(rows$kind, kinds)
  spans <- data.frame(table[c("layer", "network", "auc_low", "auc_high")], kind = factor(kinds[3], kinds), panel = panels[2])
  chance <- data.frame(panel = panels, at = c(0, 0.5))
  .fs_kinds(rows, setNames(.fs_colours[c(1, 2, 7)], kinds)) +
    geom_errorbar(aes(layer, ymin = auc_low, ymax = auc_high, colour = kind), spans, inherit.aes = FALSE, width = 0.2) +
    geom_hline(aes(yintercept = at), chance, linetype = "dotted", colour = "grey40") + ggtitle("Do clusters tell which labels lose?")
}

# Labels in the clusters of each filter of a layer and the drops of their SR without it, filters ordered by cluster: by default of
# the last layer. With a filter: bars, a label each.
fs_plot_drops <- function(results, layer = NULL, filter = NULL) {
  if (!nrow(results$knockout_layers)) stop("nothing is complete yet", call. = FALSE)
  if (is.null(layer)) layer <- max(results$knockout_layers$layer)
  drops <- results$drops(layer)
  if (!is.null(filter)) {
    cluster <- results$clusters(layer, filter)
    order <- order(cluster == 0, cluster, -drops[filter + 1, ])
    rows <- data.frame(label = factor(results$labels[order], results$labels[order]), drop = drops[filter + 1, order],
      kind = ifelse(cluster[order] > 0, "in a cluster", "in none"))
    return(ggplot(rows, aes(label, drop, fill = kind)) + geom_col() +
      scale_fill_manual("label", values = c("in a cluster" = .fs_colours[1], "in none" = .fs_colours[2])) +
      labs(x = "label, by cluster", y = "drop of the SR (share of the label's images)",
        title = sprintf("%s, %s without filter %d (ours)", results$arch, results$name(layer), as.integer(filter))) + .fs_look() +
      theme(axis.text.x = element_text(angle = 90, vjust = 0.5, hjust = 1)))
  }
  covered <- t(vapply(seq_len(nrow(drops)) - 1, function(filter) results$clusters(layer, filter) > 0, logical(ncol(drops))))
  order <- do.call(base::order, c(list(!apply(covered, 1, any)), as.data.frame(!covered)))
  panels <- c("label in a cluster of the filter (the darkest)", "drop of the label's SR without it")
  limit <- max(quantile(abs(drops), 0.99, na.rm = TRUE), 1e-9)
  rows <- expand.grid(y = seq_along(order), label = factor(results$labels, results$labels))
  rows <- rbind(data.frame(rows, panel = panels[1], value = as.vector(covered[order, ]) * limit),
    data.frame(rows, panel = panels[2], value = pmax(-limit, pmin(limit, as.vector(drops[order, ])))))
  rows$panel <- factor(rows$panel, panels)
  ggplot(rows, aes(label, y, fill = value)) + geom_tile() + facet_wrap(~panel) +
    scale_y_reverse("filter, ordered by cluster", expand = c(0, 0)) +
    scale_fill_gradient2("drop (share of the label's images)", low = "#542788", mid = "white", high = "#B35806",
      limits = c(-limit, limit)) +
    labs(x = NULL, title = sprintf("%s, %s: do labels in a filter's clusters lose without it? (ours)", results$arch, results$name(layer))) +
    .fs_look() + theme(panel.grid = element_blank(), legend.key.width = unit(1.5, "cm"),
      axis.text.x = element_text(angle = 90, vjust = 0.5, hjust = 1))
}

# Filters that have a label in a cluster knocked out together, and all but these, beside random ones; of a file's groups, the drops.
fs_plot_groups <- function(results) {
  table <- .fs_network(results, results$knockout_groups)
  if (all(table$own < 0)) {
    kinds <- c("without the group", "the group alone is left", "random group of its size")
    table$kind <- factor(kinds[table$form + 1], kinds)
    return(ggplot(table, aes(factor(group), drop, colour = kind, shape = kind)) + geom_point(size = 2.5) +
      scale_colour_manual(NULL, values = c(.fs_colours[c(1, 3)], "grey60")) + facet_wrap(~network) +
      labs(x = "group of the file", y = "drop of the SR (share of images)", shape = NULL,
        title = "Groups of filters knocked out together (ours)") + .fs_look())
  }
  mean_of <- function(form, column) aggregate(list(value = table[[column]][table$form == form]),
    table[table$form == form, c("layer", "name", "network")], mean)
  panels <- c("without the filters that have the label in a cluster: drop of the SR", "these filters alone are left: drop of the SR",
    "share of random groups that cost the label less (dotted: chance)")
  kinds <- c("the label", "other labels", "the label, random filters")
  parts <- list(list(0, "drop_own", 1, 1), list(0, "drop_others", 2, 1), list(1, "drop_own", 1, 2), list(1, "drop_others", 2, 2))
  if (any(table$form == 2)) parts <- c(parts, list(list(2, "drop_own", 3, 1), list(0, "above", 1, 3)))
  rows <- do.call(rbind, lapply(parts, function(part)
    .fs_kind(mean_of(part[[1]], part[[2]]), "value", kinds[part[[3]]], panels[part[[4]]])))
  rows$kind <- factor(rows$kind, kinds)
  rows$panel <- factor(rows$panel, panels)
  chance <- data.frame(panel = factor(panels[3], panels), at = 0.5)[any(table$form == 2), ]
  .fs_kinds(rows, setNames(c(.fs_colours[1:2], "grey40"), kinds)) + geom_hline(aes(yintercept = at), chance, linetype = "dotted") +
    facet_wrap(~panel, scales = "free_y", labeller = label_wrap_gen(40)) +
    ggtitle("Filters knocked out together, means over labels (ours)")
}

# SR while filters of a layer are knocked out one after the other; grey: mean and range of the random orders.
fs_plot_curves <- function(results) {
  table <- results$knockout_curves
  if (!nrow(table)) stop("nothing is complete yet", call. = FALSE)
  table$panel <- .fs_layer_panel(table)
  begin <- table[table$out == 1, ] # of each order, before anything is out
  table <- rbind(transform(begin, out = 0, left = left + 1, sr = sr + drop), table)
  table$share <- table$out / (table$out + table$left)
  random <- table[table$order == "random", ]
  words <- ifelse(startsWith(table$order, "-"), paste("smallest", substring(table$order, 2), "first"), paste("largest", table$order, "first"))
  table$order <- factor(words, unique(words))
  named <- table[table$draw < 0, ]
  plot <- ggplot(mapping = aes(share, sr)) + facet_wrap(~panel)
  if (nrow(random)) {
    by_step <- aggregate(random["sr"], random[c("share", "panel")], function(sr) c(mean = mean(sr), low = min(sr), high = max(sr)))
    band <- data.frame(by_step[c("share", "panel")], sr = by_step$sr[, "mean"], low = by_step$sr[, "low"], high = by_step$sr[, "high"])
    plot <- plot + geom_ribbon(aes(ymin = low, ymax = high), band, fill = "grey85") +
      geom_line(data = band, linetype = "dashed", colour = "grey40")
  }
  plot + geom_line(aes(colour = order), named) + geom_point(aes(colour = order, shape = order), named, size = 1.6) +
    geom_hline(yintercept = 1 / length(results$labels), linetype = "dotted", colour = "grey40") +
    scale_colour_manual(NULL, values = rep(.fs_colours, length.out = nlevels(table$order))) +
    scale_y_continuous("SR (dotted: chance)", limits = c(0, 1)) +
    labs(x = "share of the layer's filters that are out (grey: at random, mean and range)", shape = NULL,
      title = "Filters knocked out one after the other (ours)") + .fs_look()
}

# SR against the kept share of the parameters, after pruning and after retraining: AFCC beside its controls, means and standard
# deviations over seeds. Takes a table of fs_pruning.
fs_plot_pruning <- function(table) {
  means <- fs_pruning_means(table)
  stages <- c(pruned = "after pruning", retrained = "after retraining")
  rows <- do.call(rbind, lapply(names(stages), function(stage)
    data.frame(means[c("kept", "control")], sr = means[[paste0("sr_", stage)]], deviation = means[[paste0("sr_", stage, "_std")]],
      panel = stages[[stage]])))
  rows <- rows[!is.na(rows$sr), ]
  rows$panel <- factor(rows$panel, stages)
  rows$control <- factor(rows$control, intersect(fs_controls, rows$control))
  ggplot(rows, aes(kept, sr, colour = control, shape = control)) + geom_line() + geom_point(size = 2.5) + facet_wrap(~panel) +
    geom_errorbar(aes(ymin = sr - deviation, ymax = sr + deviation), rows[!is.na(rows$deviation), ], width = 0.01) +
    geom_hline(yintercept = table$sr_before[1], linetype = "dotted", colour = "grey40") +
    scale_colour_manual(NULL, values = setNames(.fs_colours[seq_along(fs_controls)], fs_controls)) +
    scale_shape_manual(NULL, values = setNames(seq_along(fs_controls) + 14, fs_controls)) +
    labs(x = "kept share of the parameters", y = "SR (dotted: before)", title = "Pruning by clusters beside its controls") + .fs_look()
}

# Whether the file ends as its kind does: R's devices do not tell of a full disk.
.fs_whole <- function(path, kind) {
  end <- charToRaw(c(png = "IEND\xaeB`\x82", pdf = "%%EOF\n")[[kind]])
  size <- file.size(path)
  if (is.na(size) || size < length(end)) return(FALSE)
  file <- file(path, "rb")
  on.exit(close(file))
  seek(file, size - length(end))
  identical(readBin(file, "raw", length(end)), end)
}

# Writes folder/name.png and .pdf; inches. What is not written whole is an error, and what was there stays.
fs_save <- function(plot, folder, name, width = 8, height = 5) {
  dir.create(folder, showWarnings = FALSE, recursive = TRUE)
  if (!dir.exists(folder)) stop(folder, ": no folder, and none could be made", call. = FALSE)
  for (kind in c("png", "pdf")) {
    path <- file.path(folder, paste(name, kind, sep = "."))
    part <- paste0(path, ".part")
    suppressMessages(ggsave(part, plot, device = kind, width = width, height = height, dpi = 150))
    if (!.fs_whole(part, kind) || !file.rename(part, path)) {
      unlink(part)
      stop(path, ": could not be written whole: the disk may be full", call. = FALSE)
    }
  }
  invisible(file.path(folder, paste0(name, ".png")))
}

# A line on standard output, by cat: R does not tell where that cannot be written.
.fs_say <- function(text) {
  if (system2("cat", input = encodeString(text), stderr = FALSE) != 0) stop("standard output: cannot be written", call. = FALSE)
}

.fs_main <- function(words) {
  named <- c("--out" = ".", "--pruned" = NA)
  for (option in names(named)) {
    place <- match(option, words)
    if (is.na(place)) next
    if (place == length(words)) stop(option, " wants a folder", call. = FALSE)
    named[option] <- words[place + 1]
    words <- words[-c(place, place + 1)]
  }
  paths <- words
  out <- named[["--out"]]
  save <- function(...) .fs_say(paste(fs_save(...), "(and .pdf)"))
  if (!is.na(named["--pruned"])) {
    save(fs_plot_pruning(fs_pruning(named[["--pruned"]])), out, "pruning", 9, 4.5)
    if (!length(paths)) return(invisible())
  }
  results <- fs_open(paths)
  save(fs_plot_sr(results), out, "sr")
  save(fs_plot_clusters(results), out, "clusters", 9, 7)
  save(fs_plot_sizes(results), out, "sizes", 9, 6)
  save(fs_plot_share(results), out, "share")
  save(fs_plot_history(results), out, "history", 8, 9)
  if (length(paths) == 1) save(fs_plot_field(results), out, "field", 13, 5)
  has <- function(part) any(vapply(results$runs, function(run) part %in% names(run$config), TRUE))
  if (has("knockout")) save(fs_plot_knockout(results), out, "knockout", 10, 5)
  if (has("knockout") && length(paths) == 1) save(fs_plot_drops(results), out, "drops", 10, 6)
  if (has("groups")) save(fs_plot_groups(results), out, "groups", 13, 5)
  if (has("curve") && length(paths) == 1) save(fs_plot_curves(results), out, "curves", 10, 7)
}

if (sys.nframe() == 0) { # run by Rscript, not sourced
  here <- sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))
  source(file.path(dirname(here), "filterscope.R"))
  tryCatch(.fs_main(commandArgs(TRUE)), error = function(e) {
    message("filterscope_figures.R: ", encodeString(conditionMessage(e)))
    quit(status = 1)
  })
}
