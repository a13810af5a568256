// Listeners of Multipath TCP, which Go makes unless told otherwise, take no socket filter (internal/doors).
//go:debug multipathtcp=0

// Command adaptflow adapts language models on ordinary CPUs: from raw text to a measured adapter that Hugging Face PEFT loads.
package main

import "github.com/adaptflow/adaptflow/cmd/cli"

func main() { cli.Main() }
