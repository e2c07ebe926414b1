package aliyun

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
)

// The preview has the parameters that Aliyun gets, apart from the key and what each call makes anew.
func TestPreviewIsWhatIsSent(t *testing.T) {
	var method string
	var sent url.Values
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		method, sent = r.Method, r.Form
		_, _ = w.Write([]byte(`{"Code":"OK","Message":"OK","BizId":"1"}`))
	}))
	t.Cleanup(far.Close)
	ch := openAt(t, far.URL)
	d := channeltest.Delivery(1)
	w, err := ch.Preview(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(w.URL)
	if err != nil || w.Method != method || "http://"+u.Host != far.URL {
		t.Fatalf("%v: %s %s, sent was %s", err, w.Method, w.URL, method)
	}
	shown := u.Query()
	for name := range sent {
		want := sent.Get(name)
		if slices.Contains(made, name) {
			want = channels.Masked
		}
		if shown.Get(name) != want {
			t.Errorf("%s is shown as %q, sent was %q", name, shown.Get(name), want)
		}
	}
	if len(shown) != len(sent) || shown.Get("OutId") != d.ID {
		t.Errorf("shown %d parameters, sent %d", len(shown), len(sent))
	}
}
