package storagetest

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// The environment of the clients of the two servers: the key that [StartS3] knows, and none of the machine's own settings.
const (
	testKey    = "key"
	testSecret = "secret"
)

// HideSettings hides the machine's own settings of the AWS libraries from a test.
func HideSettings(t testing.TB) {
	t.Helper()
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_MAX_ATTEMPTS"} {
		t.Setenv(v, "")
	}
	none := t.TempDir()
	t.Setenv("AWS_CONFIG_FILE", none+"/config")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none+"/credentials")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// StartS3 starts an S3 server in memory with the buckets named and sets the environment by which clients find it, under a host name, as a
// server on another machine has. It ends with the test.
func StartS3(t testing.TB, buckets ...string) *S3 {
	t.Helper()
	store, err := NewStore("", buckets...)
	if err != nil {
		t.Fatal(err)
	}
	s := &S3{Store: store, Key: testKey}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	HideSettings(t)
	t.Setenv("AWS_ENDPOINT_URL", strings.Replace(h.URL, "127.0.0.1", "localhost", 1))
	t.Setenv("AWS_ACCESS_KEY_ID", testKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", testSecret)
	return s
}

// StartGCS is StartS3 of a server of Google Cloud Storage.
func StartGCS(t testing.TB, buckets ...string) *GCS {
	t.Helper()
	store, err := NewStore("", buckets...)
	if err != nil {
		t.Fatal(err)
	}
	s := &GCS{Store: store}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(h.URL, "http://"))
	return s
}
