// Responsibilities, and below them each event's ln sum exp(log joint), whatever the log densities are that an offset has added to it.

#pragma once

#include "kernel.h"

// A block takes EVENTS events, side by side in memory, and has several threads for each.
template <class Density> struct Responsibilities {
    static constexpr int EVENTS = 32;

    struct Shared {
        Real sum[EVENTS];
    };

    Density density;
    const Real *offset;
    Real *out;
    size_t events, rows;

    __device__ Responsibilities(Inputs in, Real *out, const Sizes &sizes)
        : density(in, sizes), offset(in.third), out(out), events(sizes.at[0]), rows(sizes.at[2]) {}

    __device__ int phases() const { return 3; }

    __device__ void phase(int phase, Shared &shared, int block, int thread, int threads) const {
        const int lane = thread % EVENTS, way = thread / EVENTS, ways = threads / EVENTS;
        const size_t event = (size_t)block * EVENTS + lane;
        if (event < events) {
            switch (phase) {
            case 0: log_joints(event, way, ways); break;
            case 1: if (way == 0) sum(event, shared.sum[lane]); break;
            case 2: divide(event, shared.sum[lane], way, ways); break;
            }
        }
    }

    __device__ void log_joints(size_t event, int way, int ways) const {
        for (size_t row = way; row < rows; row += ways) {
            out[row * events + event] = offset[row * events + event] + density.log_density(row, event);
        }
    }

    __device__ void sum(size_t event, Real &sum) const {
        const size_t end = rows * events;
        Real most = -INFINITY;
        for (size_t at = event; at < end; at += events) {
            most = fmax(most, out[at]);
        }
        sum = 0;
        for (size_t at = event; at < end; at += events) {
            sum += out[at] = exp(out[at] - most);
        }
        out[end + event] = most + log(sum);
    }

    __device__ void divide(size_t event, Real sum, int way, int ways) const {
        for (size_t row = way; row < rows; row += ways) {
            out[row * events + event] /= sum;
        }
    }
};
