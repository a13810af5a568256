package kinds

import "github.com/adaptflow/adaptflow/pipelines/report"

// inspectPath is inspect.Path, which stands above this package: kinds_test sets it.
var inspectPath func(path string) ([]report.Fact, error)

// SetInspect sets what the tests inspect folders by.
func SetInspect(f func(path string) ([]report.Fact, error)) { inspectPath = f }
