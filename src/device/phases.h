// A kernel as a list of phases: what each thread of a block does between one barrier and the next. Nothing but `Shared` outlives a phase.
// nvcc makes a CUDA kernel of it; any other C++ compiler a loop over blocks, phases and threads, which is how it is checked where there
// is no GPU. Threads that depend on each other within a phase show when the loop runs backwards.

#pragma once

#ifdef __CUDACC__

template <class Kernel> __device__ void run(const Kernel &kernel) {
    __shared__ typename Kernel::Shared shared;
#pragma unroll
    for (int phase = 0; phase < Kernel::PHASES; phase++) {
        kernel.phase(phase, shared, blockIdx.x, threadIdx.x, blockDim.x);
        __syncthreads();
    }
}

#else

#define __global__
#define __device__

// What <<<blocks, threads>>> says.
static int blocks, threads;
static bool backwards;

template <class Kernel> void run(const Kernel &kernel) {
    for (int block = 0; block < blocks; block++) {
        typename Kernel::Shared shared;
        for (int phase = 0; phase < Kernel::PHASES; phase++) {
            for (int i = 0; i < threads; i++) {
                kernel.phase(phase, shared, block, backwards ? threads - 1 - i : i, threads);
            }
        }
    }
}

#endif
