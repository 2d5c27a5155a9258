// A kernel as a list of phases: what each thread of a block does between one barrier and the next. Nothing but `Shared` outlives a phase.
// nvcc makes a CUDA kernel of it; any other C++ compiler a loop over blocks, phases and threads, which is how it is checked where there
// is no GPU. Threads that depend on each other within a phase show when the loop runs backwards.

#pragma once

#include <math.h>
#include <stddef.h>

#ifndef REAL
#define REAL double
#endif
typedef REAL Real;

// What an operation's plan says besides its tensors.
struct Sizes {
    size_t at[16];
};

struct Inputs {
    const Real *first, *second, *third;
};

// All kernels are called alike. `Kernel(inputs, out, sizes)` says how many `phases()` there are, and does a `phase(...)` of a thread.

#ifdef __CUDACC__

template <class Kernel> __device__ void run(const Kernel &kernel) {
    __shared__ typename Kernel::Shared shared;
    const int phases = kernel.phases();
    for (int phase = 0; phase < phases; phase++) {
        kernel.phase(phase, shared, blockIdx.x, threadIdx.x, blockDim.x);
        __syncthreads();
    }
}

// Blocks have 512 threads at most, so none may take more registers than that leaves.
#define KERNEL(name, ...)                                                                                              \
    extern "C" __global__ void __launch_bounds__(512)                                                                  \
        name(const Real *first, const Real *second, const Real *third, Real *out, Sizes sizes) {                       \
        run(__VA_ARGS__(Inputs{first, second, third}, out, sizes));                                                    \
    }

#else

#include <map>
#include <string.h>
#include <string>

#define __device__

// What <<<blocks, threads>>> says.
static int blocks, threads;
static bool backwards;

template <class Kernel> void run(const Kernel &kernel) {
    for (int i = 0; i < blocks; i++) {
        const int block = backwards ? blocks - 1 - i : i;
        // NaN, to show where something is read that was never written.
        typename Kernel::Shared shared;
        memset((void *)&shared, 0xFF, sizeof shared);
        for (int phase = 0; phase < kernel.phases(); phase++) {
            for (int i = 0; i < threads; i++) {
                kernel.phase(phase, shared, block, backwards ? threads - 1 - i : i, threads);
            }
        }
    }
}

using Function = void (*)(Inputs, Real *, const Sizes &);

// By name.
static std::map<std::string, Function> kernels;

#define KERNEL(name, ...)                                                                                                              \
    static const Function name = kernels[#name] = [](Inputs inputs, Real *out, const Sizes &sizes) {                                   \
        run(__VA_ARGS__(inputs, out, sizes));                                                                                          \
    };

#endif
