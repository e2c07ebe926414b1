package channeltest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/channeltest"
	"github.com/yizhan-dev/yizhan/schemas"
)

// memory is the smallest channel there is, with its far side in the same process: it shows what
// the contract asks for, and that the contract can be kept without a socket.
type memory struct {
	mu    sync.Mutex
	mood  channeltest.Behaviour
	taken []string
}

func (m *memory) Behave(b channeltest.Behaviour) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood = b
}

func (m *memory) Taken() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.taken...)
}

// request is one call; the far side either has the request or not.
func (m *memory) request(id string) channeltest.Behaviour {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch m.mood {
	case channeltest.Accept, channeltest.AcceptThenBreak, channeltest.Cut, channeltest.Hang:
		m.taken = append(m.taken, id)
	}
	return m.mood
}

func (m *memory) Send(ctx context.Context, d *schemas.Delivery) (channels.Receipt, error) {
	no := func(code string, class channels.Class) (channels.Receipt, error) {
		return channels.Receipt{}, &channels.Failure{
			Kind: "sms", Code: code, Class: class, Maybe: class == channels.Unknown,
			Line: channels.Line(code + " for " + d.To.Phone), // as a third party would put it
		}
	}
	if ctx.Err() != nil {
		return no("net:cancelled", channels.Temporary)
	}
	switch m.request(d.ID) {
	case channeltest.Refuse:
		return no("isv.MOBILE_NUMBER_ILLEGAL", channels.BadTarget)
	case channeltest.Throttle:
		return no("isv.BUSINESS_LIMIT_CONTROL", channels.Throttled)
	case channeltest.Fail:
		return no("http:503", channels.Temporary)
	case channeltest.HangUp, channeltest.Unreachable:
		return no("net:refused", channels.Temporary)
	case channeltest.Cut:
		return no("net:reset", channels.Unknown)
	case channeltest.Hang:
		<-ctx.Done()
		return no("net:timeout-response", channels.Unknown)
	}
	return channels.Receipt{ID: "1"}, nil
}

func (m *memory) Traits() channels.Traits {
	return channels.Traits{Kind: "sms", Address: channels.Phone, Once: true, Slots: 1, Timeout: time.Second}
}

func (m *memory) Close() error { return nil }

func TestContract(t *testing.T) {
	channeltest.Contract(t, channeltest.Rig{
		Kind: "sms", Address: channels.Phone, Secrets: []string{"s3cret"},
		Open: func(*testing.T, channels.Env) (channels.Channel, channeltest.FarSide) {
			m := &memory{}
			return m, m
		},
	})
}
