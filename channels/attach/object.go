package attach

import (
	"context"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/yizhan-dev/yizhan/channels"
)

// objectStore is a [source] in the broker's object store.
type objectStore struct {
	buckets []string
	opener  Opener
}

func (o *objectStore) open(ctx context.Context, u *url.URL) (io.ReadCloser, int64, error) {
	if !slices.Contains(o.buckets, u.Host) {
		return nil, 0, lackf(channels.Denied, "bucket %s is not among attachments.object.buckets", u.Host)
	}
	if o.opener == nil { // a command that opens channels without a broker
		return nil, 0, lackf(channels.Unreachable, "there is no broker")
	}
	return o.opener(ctx, u.Host, strings.TrimPrefix(u.Path, "/"))
}
