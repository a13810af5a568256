// Listeners of Multipath TCP, which Go makes unless told otherwise, take no socket filter; runners' servers are confined by one.
//go:debug multipathtcp=0

// Extension is adaptflow with a method, an objective, a cleaning rule, a measure and an export format of a module of its own: each is a
// file, which registers it when the program begins. Drivers and workers are this program, so that both know them.
//
//	go build && ./extension run domain-adaptation --recipe recipe.yaml --set input=text.jsonl
package main

import "github.com/adaptflow/adaptflow/cmd/cli"

func main() { cli.Main() }
