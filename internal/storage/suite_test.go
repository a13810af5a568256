package storage_test

import (
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
)

// TestLocal: a local disk does what object stores do.
func TestLocal(t *testing.T) { storagetest.Suite(t, storagetest.LocalPlace(t)) }
