// Package pipelines composes the transforms into whole runs: it chooses the runner, drives training in segments, reports progress
// and results, and keeps every finished stage, so that the same command continues what was interrupted.
package pipelines
