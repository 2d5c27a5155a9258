// The operations of diagonal.rs on CUDA: the formulas and the shapes are there.

#include "kernel.h"

// A column's log density. `table` points at the first of its parameters, which lie `stride` apart.
struct Gaussian {
    __device__ static Real density(const Real *table, size_t stride, Real z) {
        const Real gap = z - table[0];
        return table[2 * stride] - table[stride] * gap * gap;
    }
};

struct Student {
    __device__ static Real density(const Real *table, size_t stride, Real z) {
        const Real gap = z - table[0];
        return table[3 * stride] - table[2 * stride] * log1p(table[stride] * gap * gap);
    }
};

// A block takes EVENTS events, side by side in memory, and has several threads for each.
template <class Family> struct Responsibilities {
    static constexpr int EVENTS = 32;

    struct Shared {
        Real sum[EVENTS];
    };

    const Real *cells, *table, *offset;
    Real *out;
    size_t events, columns, rows, first;

    __device__ Responsibilities(Inputs in, Real *out, const Sizes &sizes)
        : cells(in.first), table(in.second), offset(in.third), out(out), events(sizes.at[0]), columns(sizes.at[1]), rows(sizes.at[2]),
          first(sizes.at[3]) {}

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
        for (size_t row = way; row < first + rows; row += ways) {
            Real log = offset[row * events + event];
            if (row >= first) {
                const Real *parameters = table + (row - first) * columns;
                for (size_t d = 0; d < columns; d++) {
                    const Real z = cells[d * events + event];
                    log += isnan(z) ? 0 : Family::density(parameters + d, rows * columns, z);
                }
            }
            out[row * events + event] = log;
        }
    }

    __device__ void sum(size_t event, Real &sum) const {
        const size_t end = (first + rows) * events;
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
        for (size_t row = way; row < first + rows; row += ways) {
            out[row * events + event] /= sum;
        }
    }
};

// A block takes one column of one row. Its threads' sums are added pairwise in a fixed order, so that every run gives the same bits.
struct Moments {
    static constexpr int THREADS = 128;

    struct Shared {
        Real sums[3][THREADS];
    };

    const Real *cells, *centre, *weights;
    Real *out;
    size_t events, columns, rows;

    __device__ Moments(Inputs in, Real *out, const Sizes &sizes)
        : cells(in.first), centre(in.second), weights(in.third), out(out), events(sizes.at[0]), columns(sizes.at[1]), rows(sizes.at[2]) {}

    __device__ int phases() const { return 8; } // 1 + log2 THREADS

    __device__ void phase(int phase, Shared &shared, int block, int thread, int threads) const {
        const int kept = threads >> phase;
        if (phase == 0) {
            accumulate(shared, block, thread, threads);
        } else if (thread < kept) {
            for (int power = 0; power < 3; power++) {
                shared.sums[power][thread] += shared.sums[power][thread + kept];
            }
        }
        if (thread == 0 && kept == 1) {
            for (int power = 0; power < 3; power++) {
                out[power * rows * columns + block] = shared.sums[power][0];
            }
        }
    }

    __device__ void accumulate(Shared &shared, int block, int thread, int threads) const {
        const Real *column = cells + block % columns * events, *weight = weights + block / columns * events;
        Real count = 0, first = 0, second = 0;
        for (size_t event = thread; event < events; event += threads) {
            const Real gap = column[event] - centre[block];
            if (!isnan(gap)) {
                count += weight[event];
                first += weight[event] * gap;
                second += weight[event] * gap * gap;
            }
        }
        shared.sums[0][thread] = count;
        shared.sums[1][thread] = first;
        shared.sums[2][thread] = second;
    }
};

KERNEL(gaussians, Responsibilities<Gaussian>)
KERNEL(students, Responsibilities<Student>)
KERNEL(moments, Moments)
