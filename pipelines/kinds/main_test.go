package kinds

import (
	"testing"

	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

// resolved is a template's recipe with settings.
func resolved(t *testing.T, template string, set ...string) *recipe.Recipe {
	t.Helper()
	tp, err := templates.Get(template)
	if err != nil {
		t.Fatal(template, err)
	}
	rec, err := tp.Resolve("", nil, set)
	if err != nil {
		t.Fatal(template, err)
	}
	return rec
}
