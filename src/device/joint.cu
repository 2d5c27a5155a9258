// The operations of joint.rs on CUDA: the formulas and the shapes are there.

#include "responsibilities.h"

// The row that an entry of a lower triangle lies in. The root is exact where it is whole.
__device__ static size_t row_of(size_t entry) { return (sqrt(8.0 * entry + 1) - 1) / 2; }

__device__ static size_t triangle(size_t rows) { return rows * (rows + 1) / 2; }

struct Cells {
    const Real *cells;
    size_t events, inputs;

    // What the column of this source is in an event; `other` is what is no input.
    __device__ Real read(size_t source, size_t event, Real other) const {
        if (source < inputs) {
            return cells[source * events + event];
        }
        return source < 2 * inputs ? isnan(cells[(source - inputs) * events + event]) : other;
    }
};

// A block takes one entry of one triangle: first the means of its two columns, then the product of the distances from them. Its
// threads' sums are added pairwise in a fixed order, so that every run gives the same bits.
struct Scatter {
    static constexpr int THREADS = 128, STEPS = 8; // 1 + log2 THREADS

    struct Shared {
        // Of weights, of both columns, and of products.
        Real sums[4][THREADS];
    };

    Cells cells;
    const Real *table, *weights, *targets;
    Real *out;
    size_t columns;

    __device__ Scatter(Inputs in, Real *out, const Sizes &sizes)
        : cells{in.first, sizes.at[0], sizes.at[1]}, table(in.second), weights(in.third),
          targets(in.third + sizes.at[4]), out(out), columns(sizes.at[2]) {}

    __device__ int phases() const { return 2 * STEPS; }

    __device__ void phase(int phase, Shared &shared, int block, int thread, int threads) const {
        const size_t set = block / triangle(columns), entry = block % triangle(columns);
        const size_t row = row_of(entry), column = entry - triangle(row);
        const bool means = phase < STEPS;
        const int kept = threads >> phase % STEPS;
        Real *result = out + set * (columns + triangle(columns));
        if (kept == threads) {
            if (means) {
                sum(shared, set, row, column, thread, threads);
            } else {
                multiply(shared, set, row, column, thread, threads);
            }
        } else if (thread < kept) {
            for (int of = means ? 0 : 3; of < (means ? 3 : 4); of++) {
                shared.sums[of][thread] += shared.sums[of][thread + kept];
            }
        }
        if (thread == 0 && kept == 1) {
            if (!means) {
                result[columns + entry] = shared.sums[3][0];
            } else if (row == column) {
                result[row] = shared.sums[1][0] / shared.sums[0][0];
            }
        }
    }

    __device__ Real read(size_t column, size_t set, size_t event) const {
        const Real x = cells.read(table[column], event, targets[set * cells.events + event]);
        return isnan(x) ? table[columns + column] : x;
    }

    __device__ void sum(Shared &shared, size_t set, size_t row, size_t column, int thread, int threads) const {
        Real count = 0, left = 0, right = 0;
        for (size_t event = thread; event < cells.events; event += threads) {
            const Real weight = weights[set * cells.events + event];
            count += weight;
            left += weight * read(row, set, event);
            right += weight * read(column, set, event);
        }
        shared.sums[0][thread] = count;
        shared.sums[1][thread] = left;
        shared.sums[2][thread] = right;
    }

    __device__ void multiply(Shared &shared, size_t set, size_t row, size_t column, int thread, int threads) const {
        const Real left = shared.sums[1][0] / shared.sums[0][0], right = shared.sums[2][0] / shared.sums[0][0];
        Real product = 0;
        for (size_t event = thread; event < cells.events; event += threads) {
            const Real root = sqrt(weights[set * cells.events + event]);
            product += root * (read(row, set, event) - left) * (root * (read(column, set, event) - right));
        }
        shared.sums[3][thread] = product;
    }
};

// A block takes EVENTS events, side by side in memory, and has several threads for each. It goes down L⁻¹ strip by strip: first
// the images of all classes under the strip, then what these add to the products.
struct Predictions {
    static constexpr int EVENTS = 32, ROWS = 4, ROOM = 32 * ROWS;
    static constexpr Real FARTHEST = (Real)1e60;

    struct Shared {
        // [classes, strip, EVENTS].
        Real images[ROOM][EVENTS];
    };

    Cells cells;
    const Real *lens, *posterior;
    Real *out;
    size_t features, classes, dim, strip;

    __device__ Predictions(Inputs in, Real *out, const Sizes &sizes)
        : cells{in.first, sizes.at[0], sizes.at[1]}, lens(in.second), posterior(in.third), out(out), features(sizes.at[2]),
          classes(sizes.at[3]), dim(classes * features), strip(ROOM / classes / ROWS * ROWS) {}

    __device__ int phases() const { return 2 * ((dim + strip - 1) / strip); }

    __device__ void phase(int phase, Shared &shared, int block, int thread, int threads) const {
        const int lane = thread % EVENTS, way = thread / EVENTS, ways = threads / EVENTS;
        const size_t event = (size_t)block * EVENTS + lane, first = phase / 2 * strip;
        if (event < cells.events) {
            phase % 2 == 0 ? whiten(shared, first, event, lane, way, ways) : multiply(shared, first, event, lane, way, ways);
        }
    }

    __device__ Real feature(size_t at, size_t event) const {
        const Real x = cells.read(lens[at], event, 1);
        const Real z = (x - lens[2 * features + at]) * lens[3 * features + at];
        return isnan(x) ? lens[features + at] : z > FARTHEST ? FARTHEST : z < -FARTHEST ? -FARTHEST : z;
    }

    // ROWS rows at a time, so that a feature is made once for all of them. L⁻¹ is lower triangular.
    __device__ void whiten(Shared &shared, size_t first, size_t event, int lane, int way, int ways) const {
        for (size_t item = way; item < strip / ROWS * classes; item += ways) {
            const size_t start = item % classes * features, within = item / classes * ROWS, row = first + within;
            Real image[ROWS] = {};
            for (size_t at = 0; at < features && start + at < row + ROWS; at++) {
                const Real x = feature(at, event);
                for (size_t k = 0; k < ROWS; k++) {
                    image[k] += row + k < dim ? posterior[(row + k) * dim + start + at] * x : 0;
                }
            }
            for (size_t k = 0; k < ROWS; k++) {
                shared.images[item % classes * strip + within + k][lane] = image[k];
            }
        }
    }

    // The entries of [U, b]ᵀ U, as far as the strip goes.
    __device__ void multiply(Shared &shared, size_t first, size_t event, int lane, int way, int ways) const {
        for (size_t entry = way; entry < triangle(classes) + classes; entry += ways) {
            const size_t row = row_of(entry), column = entry - triangle(row);
            Real sum = 0;
            for (size_t k = 0; k < strip && first + k < dim; k++) {
                const Real left = row < classes ? shared.images[row * strip + k][lane] : posterior[dim * dim + first + k];
                sum += left * shared.images[column * strip + k][lane];
            }
            Real *result = out + entry * cells.events + event;
            *result = first == 0 ? sum : *result + sum;
        }
    }
};

struct Gaussian {
    __device__ static Real tail(Real square) { return square; }
};

struct Student {
    __device__ static Real tail(Real square) { return log1p(square); }
};

// The log densities of the first rows.
template <class Family> struct Normals {
    static constexpr int ROWS = 4;

    const Real *cells, *table;
    size_t events, dim, normals;

    __device__ Normals(Inputs in, const Sizes &sizes)
        : cells(in.first), table(in.second), events(sizes.at[0]), dim(sizes.at[1]), normals(sizes.at[3]) {}

    __device__ Real log_density(size_t normal, size_t event) const {
        if (normal >= normals) {
            return 0;
        }
        const Real *mean = table + normal * (dim + dim * dim + 2), *whitening = mean + dim, *scalars = whitening + dim * dim;
        // ROWS rows at a time, so that a gap is read once for all of them. L⁻¹ is lower triangular.
        Real square = 0;
        for (size_t row = 0; row < dim; row += ROWS) {
            Real image[ROWS] = {};
            for (size_t d = 0; d < dim && d < row + ROWS; d++) {
                const Real gap = cells[d * events + event] - mean[d];
                for (size_t k = 0; k < ROWS; k++) {
                    image[k] += row + k < dim ? whitening[(row + k) * dim + d] * gap : 0;
                }
            }
            for (size_t k = 0; k < ROWS; k++) {
                square += image[k] * image[k];
            }
        }
        return scalars[0] - scalars[1] * Family::tail(square);
    }
};

KERNEL(scatter, Scatter)
KERNEL(predictions, Predictions)
KERNEL(gaussians, Responsibilities<Normals<Gaussian>>)
KERNEL(students, Responsibilities<Normals<Student>>)
