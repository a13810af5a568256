package infer

import (
	"testing"

	"github.com/adaptflow/adaptflow/templates/assets"
)

// embedded opens the embedded language model.
func embedded(t testing.TB) *Model {
	t.Helper()
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Load(dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}
