package storagetest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

const signature = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" +
	"0123456789012345678901234567890123456789012345678901234567890123"

// ask sends one request and returns the status and the body.
func ask(t *testing.T, method, at, content string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, at, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer a.Body.Close()
	b, _ := io.ReadAll(a.Body)
	return a.StatusCode, string(b)
}

// TestS3Server: what clients of others rely on: signatures, lists in pages and by folders, chunked bodies.
func TestS3Server(t *testing.T) {
	store, err := NewStore("", "bucket")
	if err != nil {
		t.Fatal(err)
	}
	s := &S3{Store: store, Key: "key"}
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	signed := []string{"Authorization", signature}
	for _, c := range []struct {
		name string
		auth string
		want string
	}{
		{"none", "", "AccessDenied"},
		{"another kind", "Basic x", "AccessDenied"},
		{"no signature", signature[:strings.Index(signature, ", Signature")], "AccessDenied"},
		{"another key", strings.Replace(signature, "=key/", "=other/", 1), "InvalidAccessKeyId"},
	} {
		if code, text := ask(t, "GET", h.URL+"/bucket/x", "", "Authorization", c.auth); code != 403 || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s", c.name, code, text)
		}
	}
	for _, k := range []string{"a/1", "a/2", "b/1", "b/c/1", "d"} {
		if code, text := ask(t, "PUT", h.URL+"/bucket/"+k, k, signed...); code != 200 {
			t.Errorf("%d %s", code, text)
		}
	}
	keys := func(q string) (out string) {
		token := ""
		for {
			_, text := ask(t, "GET", h.URL+"/bucket?list-type=2&"+q+token, "", signed...)
			for _, f := range strings.Split(text, "<Key>")[1:] {
				out += f[:strings.Index(f, "<")] + " "
			}
			for _, f := range strings.Split(text, "<CommonPrefixes><Prefix>")[1:] {
				out += f[:strings.Index(f, "<")] + " "
			}
			_, next, ok := strings.Cut(text, "<NextContinuationToken>")
			if !ok {
				return out
			}
			token = "&continuation-token=" + url.QueryEscape(next[:strings.Index(next, "<")])
		}
	}
	for q, want := range map[string]string{"": "a/1 a/2 b/1 b/c/1 d ", "max-keys=2": "a/1 a/2 b/1 b/c/1 d ", "prefix=b/": "b/1 b/c/1 ",
		"delimiter=/": "d a/ b/ ", "delimiter=/&max-keys=1": "a/ b/ d ", "prefix=b/&delimiter=/": "b/1 b/c/ ",
		"start-after=b/1": "b/c/1 d "} {
		if got := keys(q); got != want {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
	chunked := "4;chunk-signature=x\r\nWiki\r\n6\r\npedia \r\n0\r\nx-amz-checksum-crc32:x\r\n\r\n"
	if code, text := ask(t, "PUT", h.URL+"/bucket/chunked", chunked, append(signed, "X-Amz-Content-Sha256",
		"STREAMING-UNSIGNED-PAYLOAD-TRAILER")...); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	if _, text := ask(t, "GET", h.URL+"/bucket/chunked", "", append(signed, "Range", "bytes=2-7")...); text != "kipedi" {
		t.Errorf("%q", text)
	}
}

// TestKept: a store in a folder is there for the next process; what one that was killed has left behind does no harm.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	open := func() *GCS {
		t.Helper()
		store, err := NewStore(dir, "bucket")
		if err != nil {
			t.Fatal(err)
		}
		return &GCS{Store: store}
	}
	s := open()
	h := httptest.NewServer(s.Handler())
	for i := range 3 {
		to := h.URL + "/upload/storage/v1/b/bucket/o?uploadType=media&name=a%2Fb"
		if code, text := ask(t, "POST", to, fmt.Sprint("text ", i)); code != 200 {
			t.Errorf("%d %s", code, text)
		}
	}
	o, err := s.get("bucket", "a/b")
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	if err := os.WriteFile(dir+"/incoming-1", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open()
	h = httptest.NewServer(s.Handler())
	defer h.Close()
	if code, text := ask(t, "GET", h.URL+"/bucket/a/b", ""); code != 200 || text != "text 2" {
		t.Errorf("%d %q", code, text)
	}
	again, err := s.get("bucket", "a/b")
	if err != nil || again.Generation != o.Generation || !again.Modified.Equal(o.Modified) {
		t.Errorf("%+v %v, was %+v", again, err, o)
	}
	at := h.URL + "/storage/v1/b/bucket/o/a%2Fb"
	if code, _ := ask(t, "PATCH", at+"?ifMetagenerationMatch=2", `{"metadata": {"k": "v"}}`); code != 412 {
		t.Errorf("%d", code)
	}
	if code, text := ask(t, "PATCH", at+"?ifMetagenerationMatch=1", `{"metadata": {"k": "v"}}`); code != 200 ||
		!strings.Contains(text, `"metageneration":"2"`) {
		t.Errorf("%d %s", code, text)
	}
	if code, _ := ask(t, "DELETE", at+"?ifGenerationMatch=1", ""); code != 412 {
		t.Errorf("%d", code)
	}
	if code, _ := ask(t, "DELETE", at+fmt.Sprint("?ifGenerationMatch=", o.Generation), ""); code != 204 {
		t.Errorf("%d", code)
	}
}

// TestFaults: faults by their text, and by a request while the server runs.
func TestFaults(t *testing.T) {
	want := Fault{Kind: Throttle, Method: "PUT", Path: "/x", First: 3, Times: 2, Every: 5, RetryAfter: time.Second, Delay: time.Minute}
	f, err := ParseFault("kind=throttle,method=PUT,path=/x,first=3,times=2,every=5,retry-after=1s,delay=1m")
	if err != nil || f != want {
		t.Errorf("%+v %v", f, err)
	}
	for text, says := range map[string]string{"kind=x": "is one of throttle", "kind=slow,x=1": `no field "x"`,
		"kind=slow,times=x": "times=x"} {
		if _, err := ParseFault(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	store, err := NewStore("", "bucket")
	if err != nil {
		t.Fatal(err)
	}
	s := &GCS{Store: store}
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	if code, text := ask(t, "POST", h.URL+"/-/faults?fault="+url.QueryEscape("kind=500,first=2,every=3,times=2"), ""); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	var codes []int
	for range 9 {
		code, _ := ask(t, "GET", h.URL+"/storage/v1/b/bucket", "")
		codes = append(codes, code)
	}
	if got := fmt.Sprint(codes); got != "[200 500 200 200 500 200 200 200 200]" {
		t.Errorf("%s", got)
	}
	if _, text := ask(t, "GET", h.URL+"/-/faults", ""); strings.Count(text, "GET /storage/v1/b/bucket\n") != 9 {
		t.Errorf("%s", text)
	}
	if ask(t, "DELETE", h.URL+"/-/faults", ""); s.Requests("", "") != 0 {
		t.Error("the log is still there")
	}
	s.Add(Fault{Kind: Reset})
	if code, text := ask(t, "POST", h.URL+"/storage/v1/b/bucket", ""); code != 0 {
		t.Errorf("%d %s", code, text)
	}
}
