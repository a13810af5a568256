package objects

import (
	"testing"
	"time"

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
