package kinds_test

import (
	"github.com/adaptflow/adaptflow/pipelines/inspect"
	"github.com/adaptflow/adaptflow/pipelines/kinds"
)

func init() { kinds.SetInspect(inspect.Path) }
