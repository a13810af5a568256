package runners

import "github.com/adaptflow/adaptflow/transforms/remote/objects"

// Whoever runs pipelines reads and writes object stores, in the driver and in its workers.
func init() { objects.Register() }
