package train

import (
	"testing"

	"github.com/adaptflow/adaptflow/model"
)

// llama is the tiny model that tests train over, until the test ends.
func llama(t *testing.T) *model.Model {
	t.Helper()
	m, err := model.Load(tiny("llama_gqa"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}
