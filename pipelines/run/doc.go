// Package run is a run and its records: it opens the recipe and the output folder, prepares the data, trains, evaluates, publishes, and
// goes on where an earlier process ended. What a run of a certain kind does beside that is in package kinds.
package run
