// The operations of diagonal.rs on CUDA: the formulas and the shapes are there.

#include "responsibilities.h"

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

// What the columns of an event that are not missing add to a row's log joint.
template <class Family> struct Columns {
    const Real *cells, *table;
    size_t events, columns, rows, first;

    __device__ Columns(Inputs in, const Sizes &sizes)
        : cells(in.first), table(in.second), events(sizes.at[0]), columns(sizes.at[1]), rows(sizes.at[3]),
          first(sizes.at[2] - sizes.at[3]) {}

    __device__ Real log_density(size_t row, size_t event) const {
        Real log = 0;
        for (size_t d = 0; row >= first && d < columns; d++) {
            const Real z = cells[d * events + event];
            log += isnan(z) ? 0 : Family::density(table + (row - first) * columns + d, rows * columns, z);
        }
        return log;
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

KERNEL(gaussians, Responsibilities<Columns<Gaussian>>)
KERNEL(students, Responsibilities<Columns<Student>>)
KERNEL(moments, Moments)
