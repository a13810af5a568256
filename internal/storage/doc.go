// Package storage is the one place where files are opened, written and locked.
//
// Reads are random ([OpenReaderAt]); writes are atomic: a file is written under a temporary name in the same folder, synced, and
// renamed ([Create], [WriteFile]), so that a reader sees the old content, the new content, or no file, never half of one. A path with a
// scheme ("gs://bucket/key") is served by the [FS] registered for it; a path without one, or with "file://", is a local file.
package storage
