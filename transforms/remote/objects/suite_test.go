package objects

import (
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
)

// patience sets Patience until the test ends.
func patience(t *testing.T, d time.Duration) {
	old := Patience
	Patience = d
	t.Cleanup(func() { Patience = old })
}

// TestSuiteS3: the behaviour of internal/storage on S3.
func TestSuiteS3(t *testing.T) {
	s := storagetest.StartS3(t, "bucket")
	fresh(t)
	storagetest.Suite(t, storagetest.S3Place(s, patience))
}

// TestSuiteGCS: the behaviour of internal/storage on Google Cloud Storage.
func TestSuiteGCS(t *testing.T) {
	s := storagetest.StartGCS(t, "bucket")
	fresh(t)
	storagetest.Suite(t, storagetest.GCSPlace(s, patience))
}

// TestListNames: the error of a list names the folder as it was asked for.
func TestListNames(t *testing.T) {
	for _, start := range []func(*testing.T) string{
		func(t *testing.T) string { storagetest.StartS3(t, "bucket"); return "s3://other/folder" },
		func(t *testing.T) string { storagetest.StartGCS(t, "bucket"); return "gs://other/folder" },
	} {
		folder := start(t)
		fresh(t)
		err := storage.List(t.Context(), folder, func(storage.Info) error { return nil })
		if err == nil || !strings.HasPrefix(err.Error(), folder+": ") {
			t.Errorf("%v", err)
		}
	}
}
