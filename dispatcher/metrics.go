package dispatcher

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Few metrics with bounded labels: channels are configured, states and classes are closed sets.
var (
	eventsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_events_total", Help: "Events taken from the stream, by result: planned, duplicate, dead.",
	}, []string{"result"})
	statesTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_delivery_states_total", Help: "Changes of a delivery's state.",
	}, []string{"channel", "state"})
	attemptsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_attempts_total", Help: "Calls to third parties, by class of the outcome (ok when accepted).",
	}, []string{"channel", "class"})
	attemptSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "yizhan_attempt_seconds", Help: "How long calls to third parties took.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"channel"})
	latencySeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "yizhan_first_attempt_seconds", Help: "From planning to the start of the first attempt.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 15, 60, 300, 1800},
	}, []string{"channel", "priority"})
	repeatsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_repeats_total", Help: "Messages found to have been sent twice, after a kill.",
	}, []string{"channel"})
	redeliveredTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_redelivered_total", Help: "Attempts with a copy that another worker had before and may have sent.",
	}, []string{"channel"})
	backlogGauge = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "yizhan_backlog", Help: "Deliveries that wait, scheduled ones included.",
	})
	waitingGauge = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "yizhan_events_waiting", Help: "Events that are stored and not planned yet.",
	})
	straysGauge = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "yizhan_strays", Help: "Deliveries that wait for a channel which is not configured any more.",
	}, []string{"channel"})
	skewGauge = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "yizhan_clock_skew_seconds", Help: "How far the broker's clock is ahead of this one.",
	})
	leftoversTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "yizhan_leftovers_total", Help: "Messages left behind in DELIVERIES by a killed broker and cleared.",
	})
)
